// Command edge-gate is `edge gate` as a program of its own, without Caddy: it is small, and seldom has a reason to be replaced.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/theworklabs/edge/internal/gate"
	"github.com/theworklabs/edge/internal/hint"
)

func main() {
	flag.Usage = func() {
		fmt.Fprintf(os.Stderr, "usage: edge-gate [--listen ADDRESSES] [--socket PATH] [--health]\n%s", gate.Help)
	}
	listen := flag.String("listen", gate.DefaultListen, "")
	path := flag.String("socket", gate.DefaultPath, "")
	health := flag.Bool("health", false, "")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*path, *listen, *health); err != nil {
		fmt.Fprintln(os.Stderr, "edge-gate: error:", err)
		if next := hint.Of(err); next != "" {
			fmt.Fprintln(os.Stderr, "edge-gate: hint:", next)
		}
		os.Exit(1)
	}
}

func run(path, listen string, health bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if health {
		return gate.Health(ctx, path)
	}
	return gate.Run(ctx, path, listen, os.Stdout)
}
