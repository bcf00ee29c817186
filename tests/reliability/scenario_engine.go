package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

const backendImage = "edge-test/generic:test"

var engineRestart = scenario{
	name:     "Engine restarted",
	what:     "The Docker Engine is killed and started again, while its containers go on running. Then the only replica is restarted.",
	edgeOnly: true,
	run: func(ctx context.Context, s *testbed, _ []proxy) (results []Result, err error) {
		engine, err := harness.StartEngine(ctx, backendImage, "--live-restore") // its containers outlive it
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, engine.Remove()) }()
		for _, service := range []string{"api", "control"} {
			if err := runBackend(ctx, engine, service); err != nil {
				return nil, err
			}
		}
		edge, stop, err := s.startHostEdge(ctx, engine)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, stop()) }()
		return s.observe(ctx, "Engine restarted", []proxy{edge}, func(ctx context.Context) error {
			if err := engine.Stop(syscall.SIGKILL); err != nil {
				return err
			}
			if err := sleep(ctx, s.effort.Window); err != nil {
				return err
			}
			if err := engine.Start(ctx); err != nil {
				return err
			}
			_, err := engine.Docker(ctx, "restart", "--time", "0", "api")
			return err
		})
	},
}

func runBackend(ctx context.Context, e *harness.Engine, name string) error {
	_, err := e.Docker(ctx, "run", "--detach", "--network", "lab", "--name", name, backendImage)
	return err
}

const engineCaddyfile = `{
	admin off
	auto_https off
	grace_period 1s
	edge {
		docker_host unix://%s
		resolver 127.0.0.1:1
		hold 30s
	}
}

http:// {
	bind unix/%s
	@api host api.localhost
	edge_proxy @api api:8080 {
		probe {
			uri /_test/health
			interval 1s
			timeout 1s
		}
	}
	edge_proxy control:8080
}
`

// startHostEdge runs an edge in front of the containers of a Docker Engine.
func (s *testbed) startHostEdge(ctx context.Context, e *harness.Engine) (p proxy, stop func() error, err error) {
	program, err := s.edgeProgram(ctx)
	if err != nil {
		return p, nil, err
	}
	p = proxy{name: "edge", service: "edge", address: filepath.Join(e.Dir, "e.sock")}
	process, err := e.StartEdge(program, fmt.Sprintf(engineCaddyfile, e.Socket, p.address))
	if err != nil {
		return p, nil, err
	}
	stop = func() error { return process.Stop(syscall.SIGTERM) }
	err = harness.EventuallyContext(ctx, 30*time.Second, "the edge in front of the second Docker Engine serves", func() bool {
		return p.routesTo(ctx, apiHost, 1) && p.routesTo(ctx, controlHost, 1)
	})
	if err != nil {
		return p, nil, errors.Join(err, stop(), fmt.Errorf("its log:\n%s", process.Output()))
	}
	return p, stop, nil
}
