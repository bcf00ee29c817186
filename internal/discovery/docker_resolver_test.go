package discovery_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/theworklabs/edge/internal/discovery"
)

func TestHasDockerResolver(t *testing.T) {
	for content, want := range map[string]bool{
		"nameserver 127.0.0.11\noptions ndots:0\n":                    true,
		"# made by Docker\nsearch lan\nnameserver\t127.0.0.11 # here": true,
		"nameserver 192.0.2.1\nnameserver 127.0.0.53\n":               false,
		"# nameserver 127.0.0.11\n":                                   false,
		"nameserver\n":                                                false,
		"":                                                            false,
	} {
		file := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := discovery.HasDockerResolver(file); got != want {
			t.Errorf("%q: got %t", content, got)
		}
	}
	if !discovery.HasDockerResolver(filepath.Join(t.TempDir(), "none")) {
		t.Error("without a file, Docker's DNS may be there")
	}
}
