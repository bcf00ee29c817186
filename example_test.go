package edge_test

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/theworklabs/edge"
)

// A program of your own has Caddy, the edge's modules and commands, and any other modules that it imports.
func Example() {
	caddycmd.Main()
}
