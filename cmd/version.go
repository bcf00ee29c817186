package cmd

import (
	"fmt"

	"github.com/theworklabs/edge/internal/version"
)

// release is the version of a release, which the linker sets where the build does not have the repository.
var release string

func init() { version.SetRelease(release) }

// Version returns the versions of the edge and of Caddy: Caddy's own command knows only the latter.
func Version() string {
	v := version.Program()
	return fmt.Sprintf("edge %s, Caddy %s, %s", v.Edge, v.Caddy, v.Go)
}
