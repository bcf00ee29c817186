// Command edge is Caddy with the edge's modules and commands.
package main

import (
	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/theworklabs/edge"
)

func main() {
	caddy.CustomBinaryName = "edge"
	caddycmd.Main()
}
