// Package storage tries caddy.storage.postgres with a real PostgreSQL, real edges and a real certificate authority.
package storage

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/pgstorage"
)

const (
	keyOne = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	keyTwo = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
)

var (
	edgeBinary string
	container  string // PostgreSQL's
	database   string // its address on loopback
)

func TestMain(m *testing.M) {
	flag.Parse()
	if name := os.Getenv("EDGE_TEST_HOLD_LOCK"); name != "" {
		holdLock(name)
	}
	if testing.Short() {
		fmt.Println("tests/storage: -short: left out; it needs a Docker Engine")
		os.Exit(0)
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "edge-storage-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	err = prepare(dir)
	defer func() {
		if container != "" {
			_ = exec.Command("docker", "rm", "--force", "--volumes", container).Run() // the tests are over
		}
	}()
	if err != nil {
		fmt.Fprintf(os.Stderr, "edge: error: %v\nedge: hint: run `make test`, or tests/setup; `go test -short ./...` needs no Docker\n", err)
		return 1
	}
	return m.Run()
}

// prepare builds the edge and runs PostgreSQL.
func prepare(dir string) error {
	edgeBinary = filepath.Join(dir, "edge")
	if out, err := exec.Command("go", "build", "-o", edgeBinary, "../../cmd/edge").CombinedOutput(); err != nil {
		return fmt.Errorf("build the edge: %w\n%s", err, out)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	database = ln.Addr().String() // the same after a restart
	if err := ln.Close(); err != nil {
		return err
	}
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
	for ctx.Err() == nil {
		if err = s.Store(ctx, "is/it/there", []byte("yes")); err == nil {
			return nil
		}
	}
	return fmt.Errorf("wait for PostgreSQL: %w", err)
}

// testOptions are those of the tests: a short lease and little patience.
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

// holdLock is what a process does that will be killed.
func holdLock(name string) {
	s, err := pgstorage.New(testOptions(os.Getenv("EDGE_TEST_DATABASE"), keyOne))
	if err == nil {
		err = s.Lock(context.Background(), name)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("held")
	select {}
}
