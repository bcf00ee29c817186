package main

import (
	"context"
	"errors"
	"fmt"
	"os"
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
		engine, err := harness.StartEngine(ctx, backendImage)
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

// startHostEdge runs an edge in a Docker Engine's network namespace, in front of its containers. The edge listens on a unix socket,
// which processes in every network namespace can reach.
func (s *testbed) startHostEdge(ctx context.Context, e *harness.Engine) (p proxy, stop func() error, err error) {
	program, err := s.edgeProgram(ctx)
	if err != nil {
		return p, nil, err
	}
	config := filepath.Join(e.Dir, "Caddyfile")
	p = proxy{name: "edge", service: "edge", address: filepath.Join(e.Dir, "e.sock")}
	if err := os.WriteFile(config, fmt.Appendf(nil, engineCaddyfile, e.Socket, p.address), 0o600); err != nil {
		return p, nil, err
	}
	log, err := os.Create(filepath.Join(e.Dir, "edge.log"))
	if err != nil {
		return p, nil, err
	}
	defer log.Close()
	cmd := e.CommandInNetns(program, "run", "--config", config)
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+e.Dir)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return p, nil, err
	}
	stop = func() error {
		err := cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // the scenario is not about the edge's exit status
		return err
	}
	err = harness.EventuallyContext(ctx, 30*time.Second, "the edge in front of the second Docker Engine serves", func() bool {
		return p.routesTo(ctx, apiHost, 1) && p.routesTo(ctx, controlHost, 1)
	})
	if err != nil {
		text, _ := os.ReadFile(log.Name()) // the file exists
		return p, nil, errors.Join(err, stop(), fmt.Errorf("its log:\n%s", text))
	}
	return p, stop, nil
}
