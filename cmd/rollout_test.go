package cmd

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/rollout"
)

// parseRolloutFlags parses a command line of rollout.
func parseRolloutFlags(t *testing.T, args ...string) (*rollout.Rollout, error) {
	t.Helper()
	c := &cobra.Command{Use: "rollout"}
	rolloutCommand().CobraFunc(c)
	if err := c.ParseFlags(args); err != nil {
		return nil, err
	}
	return newRollout(c, c.Flags().Args())
}

func TestRolloutReadsComposeFlags(t *testing.T) {
	r, err := parseRolloutFlags(t, "web", "-p", "shop", "-f", "a.yaml", "--file", "b.yaml", "--env-file", ".env", "--project-directory", "dir",
		"--profile", "x", "api", "--edge", "proxy", "--no-pull", "--timeout", "1m", "--stop-timeout", "5s", "--sessions", "0s")
	if err != nil {
		t.Fatal(err)
	}
	want := compose.Project{
		Name: "shop", Directory: "dir", Files: []string{"a.yaml", "b.yaml"}, EnvFiles: []string{".env"}, Profiles: []string{"x"},
	}
	if !reflect.DeepEqual(r.Project, want) {
		t.Errorf("%+v, want %+v", r.Project, want)
	}
	if !reflect.DeepEqual(r.Services, []string{"web", "api"}) || r.Edge != "proxy" || r.Pull != "never" || r.SessionGrace != 0 ||
		r.ReadyTimeout != time.Minute || r.StopTimeout != 5*time.Second {
		t.Errorf("%+v", r)
	}
}

func TestRolloutRejectsInvalidFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "rollout wants the names of services, or --all"},
		{"--all web", "rollout wants the names of services, or --all"},
		{"web --pull sometimes", "--pull sometimes: want always, missing or never"},
		{"web --pull always --no-pull", "can't go together"},
		{"web --file -", "can't be standard input"},
		{"web --timeout -1s", "--timeout: a duration can't be negative"},
		{"web --drain-timeout -1s", "--drain-timeout: a duration can't be negative"},
	} {
		if _, err := parseRolloutFlags(t, strings.Fields(c.args)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.args, err, c.want)
		}
	}
}

func TestFirstSignalInterruptsAndSecondForcesStop(t *testing.T) {
	ctx, hurry, stop := notifyInterrupts(t.Context())
	signal := func(s syscall.Signal) {
		if err := syscall.Kill(syscall.Getpid(), s); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGTERM)
	<-ctx.Done()
	select {
	case <-hurry:
		t.Error("the first signal hurries")
	default:
	}
	signal(syscall.SIGINT)
	<-hurry
	stop()

	ctx, _, stop = notifyInterrupts(t.Context())
	stop()
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Error("the context goes on")
	}
}
