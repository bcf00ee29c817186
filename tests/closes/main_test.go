// Package closes sends POSTs to real servers around the time at which these end idle connections, and while they are killed. It counts which of
// them were carried out twice, and of which nobody knows the outcome.
//
// `make test` runs a short form, half a minute. The long one, about 20 minutes, is `make closes`.
package closes

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

func TestMain(m *testing.M) {
	harness.Main(m, harness.Suite{
		Dir:       "tests/closes",
		Requires:  []harness.Requirement{harness.Docker, harness.Node, harness.Images("edge-test/nginx:test", "edge-test/apache:test")},
		Processes: map[string]func(string) int{goServerVariable: serveGo},
	})
}

// workers is how many clients send POSTs. Each has a port of the server to itself, so that each knows which of its requests comes next on a
// connection.
const workers = 16

// startEdge starts an edge that forwards the path /N to the port N of the server, and returns its URL.
func startEdge(t *testing.T, s *server, reuse string) string {
	t.Helper()
	port := testport.Port(t)
	var static, routes strings.Builder
	for i, address := range s.addresses {
		fmt.Fprintf(&static, "		static app%d:80 %s\n", i, address)
		fmt.Fprintf(&routes, `	handle /%[1]d {
		edge_proxy app%[1]d:80 {
			reuse %[2]s
			eject off
			retry_budget off
			hold 10s
		}
	}
`, i, reuse)
	}
	edge := harness.StartEdge(t, fmt.Sprintf(`{
	admin off
	persist_config off
	skip_install_trust
	auto_https off
	edge {
%s	}
}
http://127.0.0.1:%s {
%s}
`, static.String(), port, routes.String()))
	edge.WaitForLog(t, 30*time.Second, "serving initial configuration")
	return "http://127.0.0.1:" + port
}
