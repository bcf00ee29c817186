package harness

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
)

// WriteEnv writes a .env for a domain with `edge init`, as users do.
func WriteEnv(file, domain string) error {
	edge, err := EdgeBinary()
	if err != nil {
		return err
	}
	if out, err := exec.Command(edge, "init", "--domain", domain, "--file", file).CombinedOutput(); err != nil {
		return fmt.Errorf("edge init: %w\n%s", err, out)
	}
	return nil
}

// InitEnv writes a .env for a domain into dir, as WriteEnv does, and returns its path.
func InitEnv(t testing.TB, dir, domain string) (file string) {
	t.Helper()
	file = filepath.Join(dir, ".env")
	if err := WriteEnv(file, domain); err != nil {
		t.Fatal(err)
	}
	return file
}
