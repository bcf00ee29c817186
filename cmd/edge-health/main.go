// Command edge-health is `edge health` as a program of its own, without Caddy, for health checks of containers: it starts in 0.02 s, where the edge needs 0.18 s of a processor.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/theworklabs/edge/internal/healthcheck"
)

func main() {
	flag.Usage = func() { fmt.Fprintln(os.Stderr, "usage: edge-health [--ready] [--url URL] [--timeout DURATION]") }
	var o healthcheck.Options
	flag.BoolVar(&o.Ready, "ready", false, "")
	flag.StringVar(&o.URL, "url", "", "")
	flag.DurationVar(&o.Timeout, "timeout", healthcheck.DefaultTimeout, "")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := healthcheck.Run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "edge-health: error:", err)
		os.Exit(1)
	}
}
