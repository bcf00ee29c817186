// Package harness is the one way in which the end-to-end tests build programs, start stacks, wait for states, check
// what they see and clean up.
//
// Functions that take a testing.TB fail the test. Functions that return an error are for TestMain and for programs.
package harness

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/lowpriority"
)

// Suite describes what a package of end-to-end tests needs before its first test and after its last one.
type Suite struct {
	Dir      string        // the package, from the top of the repository, for messages: "tests/acme"
	Requires []Requirement // checked in this order; the first that is missing ends the suite

	// Setup prepares what all tests share. It may be nil. dir is removed after Teardown.
	Setup func(dir string) error

	// Teardown removes what Setup and the tests made, even if Setup returned an error. It may be nil. isFailed reports whether
	// Setup or a test failed.
	Teardown func(isFailed bool) error

	// Processes are the child processes that the tests start from their own binary: environment variable → main function. The
	// function gets the variable's value and returns the exit status.
	Processes map[string]func(value string) int
}

// Requirement is a command that succeeds if what the suite needs is there.
type Requirement []string

// What suites require.
var (
	Docker  = Requirement{"docker", "info"}
	Compose = Requirement{"docker", "compose", "version"}
	Node    = Requirement{"node", "--version"}
	IPRoute = Requirement{"ip", "-Version"}
)

// Images requires that the Docker Engine has these images.
func Images(names ...string) Requirement {
	return append(Requirement{"docker", "image", "inspect"}, names...)
}

// Main builds the edge, runs a suite and exits. TestMain calls it and nothing else. With -short it runs no test, prints so, and exits
// with 0.
func Main(m *testing.M, s Suite) {
	for variable, main := range s.Processes {
		if value := os.Getenv(variable); value != "" {
			os.Exit(main(value))
		}
	}
	// Here, backups are what matters. A test of their priority sets it.
	if os.Getenv(lowpriority.Variable) == "" {
		_ = os.Setenv(lowpriority.Variable, "0") // the name is valid
	}
	flag.Parse()
	if testing.Short() {
		fmt.Printf("%s: -short: the end-to-end tests are skipped\n", s.Dir)
		os.Exit(0)
	}
	os.Exit(s.run(func() int {
		// A test must not build the edge while it measures something.
		if _, err := EdgeBinary(); err != nil {
			s.printError(err)
			return 1
		}
		return m.Run()
	}))
}

// suiteDir is the directory that the running suite keeps its files in.
var suiteDir string

// run returns the exit status of the suite.
func (s Suite) run(tests func() int) (status int) {
	dir, err := os.MkdirTemp("", "edge-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	suiteDir = dir
	defer os.RemoveAll(dir)
	if err := s.checkRequirements(); err != nil {
		s.printError(err)
		return 1
	}
	if s.Teardown != nil {
		defer func() {
			if err := s.Teardown(status != 0); err != nil {
				fmt.Fprintln(os.Stderr, err)
				status = 1
			}
		}()
	}
	if s.Setup != nil {
		if err := s.Setup(dir); err != nil {
			s.printError(err)
			return 1
		}
	}
	return tests()
}

func (s Suite) printError(err error) {
	fmt.Fprintf(os.Stderr, "%s: error: %v\n%[1]s: hint: run `make test`, or `make setup image`; `go test -short ./...` needs no Docker\n", s.Dir, err)
}

func (s Suite) checkRequirements() error {
	for _, r := range s.Requires {
		if err := r.check(); err != nil {
			return err
		}
	}
	return nil
}

func (r Requirement) check() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, r[0], r[1:]...).CombinedOutput()
	if err == nil {
		return nil
	}
	text := lastLines(string(out), 1)
	if text == "" {
		text = err.Error()
	}
	return errors.New("`" + strings.Join(r, " ") + "` fails: " + text)
}

// lastLines returns the last n lines of a text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
