// Package edge imports all modules and commands of the edge.
//
//	xcaddy build --with github.com/theworklabs/edge
package edge

import (
	_ "embed"

	"github.com/theworklabs/edge/cmd"

	_ "github.com/theworklabs/edge/modules/downstream"
	_ "github.com/theworklabs/edge/modules/edge"
	_ "github.com/theworklabs/edge/modules/errorpages"
	_ "github.com/theworklabs/edge/modules/health"
	_ "github.com/theworklabs/edge/modules/listeners"
	_ "github.com/theworklabs/edge/modules/logs"
	_ "github.com/theworklabs/edge/modules/matchers"
	_ "github.com/theworklabs/edge/modules/presets"
	_ "github.com/theworklabs/edge/modules/proxy"
	_ "github.com/theworklabs/edge/modules/ratelimit"
	_ "github.com/theworklabs/edge/modules/securityheaders"
	_ "github.com/theworklabs/edge/modules/statuspage"
	_ "github.com/theworklabs/edge/modules/storage"
	_ "github.com/theworklabs/edge/modules/trustedproxies"
	_ "github.com/theworklabs/edge/modules/upstreams"
)

// The shipped files that commands use.
var (
	//go:embed Caddyfile
	caddyfile []byte
	//go:embed .env.example
	envExample []byte
)

func init() {
	cmd.Register(cmd.Files{Caddyfile: caddyfile, EnvExample: envExample})
}
