// Package storage tests caddy.storage.postgres with a real PostgreSQL, real edges and a real certificate authority.
package storage

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/pgstorage"
	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

const (
	keyOne = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	keyTwo = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
)

var (
	container string // the ID of PostgreSQL's container
	database  string // its address on loopback
)

func TestMain(m *testing.M) {
	harness.Main(m, harness.Suite{
		Dir:       "tests/storage",
		Requires:  []harness.Requirement{harness.Docker, harness.Images("edge-test/postgres:test")},
		Processes: map[string]func(string) int{"EDGE_TEST_HOLD_LOCK": holdLock},
		Setup:     func(string) error { return startPostgres() },
		Teardown:  func(bool) error { return removePostgres() },
	})
}

// startPostgres runs PostgreSQL and waits until it stores something.
func startPostgres() error {
	port, err := testport.Reserve()
	if err != nil {
		return err
	}
	database = "127.0.0.1:" + port // the same after a restart
	out, err := exec.Command("docker", "run", "--detach", "--publish", database+":5432", "--env", "POSTGRES_USER=edge",
		"--env", "POSTGRES_PASSWORD=hunter2", "edge-test/postgres:test").CombinedOutput()
	if err != nil {
		return fmt.Errorf("run PostgreSQL: %w\n%s", err, out)
	}
	container = strings.TrimSpace(string(out))
	s, err := pgstorage.New(testOptions(database, keyOne))
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if waitErr := harness.EventuallyContext(ctx, time.Minute, "PostgreSQL stores a value", func() bool {
		err = s.Store(ctx, "is/it/there", []byte("yes"))
		return err == nil
	}); waitErr != nil {
		return fmt.Errorf("%w: %w", waitErr, err)
	}
	return nil
}

func removePostgres() error {
	if container == "" {
		return nil
	}
	if out, err := exec.Command("docker", "rm", "--force", "--volumes", container).CombinedOutput(); err != nil {
		return fmt.Errorf("remove PostgreSQL: %w\n%s", err, out)
	}
	return nil
}

// testOptions returns the options of the tests: a short lease and a short retry timeout.
func testOptions(address string, keys ...string) pgstorage.Options {
	return pgstorage.Options{
		DSN: "postgres://edge:hunter2@" + address + "/edge?sslmode=disable", Keys: keys, Table: "edge_storage",
		Lease: 2 * time.Second, RetryTimeout: 10 * time.Second,
	}
}

func openStore(t *testing.T, o pgstorage.Options) *pgstorage.Store {
	t.Helper()
	s, err := pgstorage.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// holdLock is the main function of a process that takes a lock, prints "held" and waits until it is killed.
func holdLock(name string) int {
	s, err := pgstorage.New(testOptions(os.Getenv("EDGE_TEST_DATABASE"), keyOne))
	if err == nil {
		err = s.Lock(context.Background(), name)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("held")
	select {}
}
