package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/theworklabs/edge/tests/harness"
	"github.com/theworklabs/edge/tests/reliability/lab"
)

// testbed is the lab with its proxies, and the effort of a run.
type testbed struct {
	project    *harness.Project
	proxies    []proxy
	lock       *os.File // held while the project belongs to this run; nil: it does not
	arrivalLog *lab.ArrivalLog
	effort     effort
	tempDir    string // for certificates and the edge's binary
	out        io.Writer

	baselines map[string]baseline // by proxy
	leftovers []Leftover
	idleCosts []IdleCost
	version   int
}

// projectName is the default name of the lab's Compose project. Its network is called projectName_lab.
const projectName = "edgerel"

// open starts the lab, with all proxies in front of one replica. The caller calls close, even after an error.
func (s *testbed) open(ctx context.Context) error {
	fmt.Fprintf(s.out, "starting the lab, project %s\n", s.project.Name)
	if err := s.project.CheckNotKept(); err != nil {
		return err
	}
	var err error
	if s.lock, err = lab.Lock(s.project.Name); err != nil {
		return err
	}
	if err := s.setVariables(); err != nil {
		return err
	}
	if err := s.project.Down(ctx); err != nil { // a run that was killed may have left something
		return err
	}
	// The network has to exist first: the arrival log listens on its gateway.
	if _, err := s.project.Compose(ctx, "up", "--detach", "--quiet-pull", "control"); err != nil {
		return err
	}
	gateway, err := s.project.Gateway(ctx, "lab")
	if err != nil {
		return err
	}
	if s.arrivalLog, err = lab.OpenArrivalLog(gateway); err != nil {
		return err
	}
	s.project.Setenv("LAB_ARRIVAL_LOG", s.arrivalLog.Address())
	if err := s.enterState(ctx, nil, 1); err != nil {
		return err
	}
	return s.recordBaselines(ctx)
}

// setVariables sets the variables of the compose file that do not change: ports and certificates.
func (s *testbed) setVariables() (err error) {
	for _, p := range s.proxies {
		p.setPorts(s.project)
	}
	if s.tempDir, err = os.MkdirTemp("", "edgerel-"); err != nil {
		return err
	}
	s.project.Setenv("LAB_CERTS", s.tempDir)
	s.project.Setenv("LAB_STOP", s.effort.Stop.String())
	return lab.WriteCertificate(s.tempDir, controlHost)
}

// close finishes the lab: it takes the lab down, or keeps it, as the other suites do with a project of failed tests.
func (s *testbed) close(isFailed bool) error {
	if s.arrivalLog != nil {
		defer s.arrivalLog.Close()
	}
	if s.lock == nil {
		return nil // the project belongs to another run
	}
	defer s.lock.Close()
	defer os.RemoveAll(s.tempDir)
	return s.project.Finish(isFailed, func(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) })
}

// defaultVariables are the variables of the compose file that a scenario does not set.
var defaultVariables = map[string]string{
	"LAB_DOCKER_HOST": "tcp://docker-guard:2375", "LAB_RESOLVER": "127.0.0.11:53",
	"LAB_BOOT_DELAY": bootDelay.String(), "LAB_ON_TERM": "rude", "LAB_SLOW_START": "0s", "LAB_VERSION": "1",
}

// enterState brings the lab into the state in which a scenario begins: a number of replicas of api with these variables, and all
// proxies route to all of them.
func (s *testbed) enterState(ctx context.Context, env map[string]string, replicas int) error {
	for name, value := range defaultVariables {
		if other, ok := env[name]; ok {
			value = other
		}
		s.project.Setenv(name, value)
	}
	// Nothing is observed yet: replicas of the last scenario that ignore SIGTERM need not get their whole grace period.
	args := []string{"up", "--detach", "--quiet-pull", "--timeout", "1", "--scale", "api=" + strconv.Itoa(replicas), "docker-guard", "api", "control"}
	for _, p := range s.proxies {
		if p.service != "" {
			args = append(args, p.service)
		}
	}
	if _, err := s.project.Compose(ctx, args...); err != nil {
		return err
	}
	if err := s.resetBehaviour(ctx, replicas); err != nil {
		return err
	}
	return s.waitRouted(ctx, replicas)
}

// resetBehaviour undoes what an earlier scenario has set by setBehaviour.
func (s *testbed) resetBehaviour(ctx context.Context, replicas int) error {
	for i := range replicas {
		err := harness.EventuallyContext(ctx, time.Minute, "api accepts requests for its behaviour", func() bool { return s.setBehaviour(ctx, i, "silent=false&health=up") == nil })
		if err != nil {
			return err
		}
	}
	return nil
}

// proxyReadyTimeout is how long a proxy may take to serve. The user starts a target in that time.
const proxyReadyTimeout = 2 * time.Minute

// waitRouted waits until every proxy routes to all replicas of api, and to control.
func (s *testbed) waitRouted(ctx context.Context, replicas int) error {
	if err := s.waitAnswering(ctx, replicas); err != nil {
		return err
	}
	for _, p := range s.proxies {
		n := replicas
		if p.service == "" {
			n = 1 // a target may use only one of them
		}
		err := harness.EventuallyContext(ctx, proxyReadyTimeout, fmt.Sprintf("%s (%s) reaches replicas of %s, %d of them, and %s", p.name, p.address, apiHost, n, controlHost), func() bool {
			return p.routesTo(ctx, apiHost, n) && p.routesTo(ctx, controlHost, 1)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// waitAnswering waits until api has n replicas and each of them answers requests that go to it directly.
func (s *testbed) waitAnswering(ctx context.Context, n int) error {
	return harness.EventuallyContext(ctx, time.Minute, fmt.Sprintf("%d replicas answer", n), func() bool {
		addresses, err := s.project.Addresses(ctx, "api", "lab")
		return err == nil && len(addresses) == n && !slices.ContainsFunc(addresses, func(a string) bool {
			return getOK(ctx, "http://"+a+":8080/_test/health") != nil
		})
	})
}

// setBehaviour sets the behaviour of one replica of api; see tests/backends/app/behaviour.go.
func (s *testbed) setBehaviour(ctx context.Context, replica int, query string) error {
	return s.askReplica(ctx, replica, "/_test/behaviour?"+query)
}

// askReplica makes a request directly to a replica of api; the oldest is 0.
func (s *testbed) askReplica(ctx context.Context, replica int, path string) error {
	addresses, err := s.project.Addresses(ctx, "api", "lab")
	if err != nil {
		return err
	}
	if replica >= len(addresses) {
		return fmt.Errorf("api has %d replicas, want number %d", len(addresses), replica)
	}
	return getOK(ctx, "http://"+addresses[replica]+":8080"+path)
}

// getOK makes a GET request. It returns an error if the status is not 200.
func getOK(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return nil
}

// sleep returns after d, or with an error when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// edgeProgram returns the path of the edge's binary, which it copies from the container in the lab.
func (s *testbed) edgeProgram(ctx context.Context) (string, error) {
	path := filepath.Join(s.tempDir, "edge")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	id, err := s.project.Container(ctx, "edge")
	if err != nil {
		return "", err
	}
	_, err = harness.RunDocker(ctx, "cp", id+":/usr/bin/edge", path)
	return path, err
}
