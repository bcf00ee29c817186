package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

var root = sync.OnceValue(func() string {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	file := strings.TrimSpace(string(out))
	if err != nil || filepath.Base(file) != "go.mod" {
		panic(fmt.Sprintf("find the top of the repository: go env GOMOD printed %q: %v", out, err))
	}
	return filepath.Dir(file)
})

// Root returns the top of the repository: the directory of go.mod. It panics outside of the module.
func Root() string { return root() }

var edgeBinary = sync.OnceValues(func() (string, error) {
	if suiteDir == "" {
		return "", errors.New("build the edge: no suite is running; call harness.Main in TestMain")
	}
	path := filepath.Join(Root(), ".tools", "edge-test")
	unlock, err := lockFile(path + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := Build(Root(), path, "./cmd/edge", "-ldflags=-w"); err != nil {
		return "", err
	}
	// A build that replaces it must not change what this suite runs.
	own := filepath.Join(suiteDir, "edge")
	if os.Link(path, own) == nil {
		return own, nil
	}
	return own, copyFile(path, own)
})

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o755)
}

// EdgeBinary returns the path of the edge's binary. The first call builds it, unless another suite has built the same one.
func EdgeBinary() (string, error) { return edgeBinary() }

// lockFile waits until no other process has a lock on the file, which it creates, and locks it.
func lockFile(name string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // which unlocks it
}

// Edge returns the path of the edge's binary, as EdgeBinary does.
func Edge(t testing.TB) string {
	t.Helper()
	path, err := EdgeBinary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Build builds a package of the module in dir. output and pkg are relative to dir.
func Build(dir, output, pkg string, flags ...string) error {
	args := append([]string{"build", "-C", dir, "-o", output}, flags...)
	out, err := exec.Command("go", append(args, pkg)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build %s in %s: %w\n%s", pkg, dir, err, out)
	}
	return nil
}

var (
	toolsMu sync.Mutex
	tools   = make(map[string]error) // built by this process: name → error of the build
)

// Tool returns the path of a program that tools/go.mod pins, such as pebble. The first call for a name has make build it.
func Tool(t testing.TB, name string) string {
	t.Helper()
	toolsMu.Lock()
	defer toolsMu.Unlock()
	err, isBuilt := tools[name]
	if !isBuilt {
		var out []byte
		if out, err = exec.Command("make", "--silent", "-C", Root(), ".tools/"+name).CombinedOutput(); err != nil {
			err = fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
		tools[name] = err
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(Root(), ".tools", name)
}
