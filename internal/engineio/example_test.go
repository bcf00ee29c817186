package engineio_test

import (
	"fmt"

	"github.com/theworklabs/edge/internal/engineio"
)

// The query of a request says whether it begins a session or belongs to one.
func ExampleParse() {
	for _, query := range []string{"EIO=4&transport=polling", "EIO=4&transport=polling&sid=k3Vq0bXw9TzR5mJdAAAC", "page=2"} {
		q := engineio.Parse(query)
		fmt.Printf("%s: begins a session: %t, session: %q\n", query, q.IsHandshake(), q.SID)
	}
	// Output:
	// EIO=4&transport=polling: begins a session: true, session: ""
	// EIO=4&transport=polling&sid=k3Vq0bXw9TzR5mJdAAAC: begins a session: false, session: "k3Vq0bXw9TzR5mJdAAAC"
	// page=2: begins a session: false, session: ""
}
