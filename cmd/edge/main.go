// Command edge is Caddy with the edge's modules and commands.
package main

import (
	"fmt"
	"os"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/theworklabs/edge"
	"github.com/theworklabs/edge/cmd"
)

func main() {
	caddy.CustomBinaryName = "edge"
	if len(os.Args) == 2 && (os.Args[1] == "version" || os.Args[1] == "--version") {
		fmt.Println(cmd.Version())
		return
	}
	if len(os.Args) > 1 && (os.Args[1] == "run" || os.Args[1] == "serve") {
		cmd.IdentifyInTraces()
		if err := cmd.ServeHealth(); err != nil {
			fmt.Fprintln(os.Stderr, "edge: error:", err) // the edge serves without it
		}
	}
	caddycmd.Main()
}
