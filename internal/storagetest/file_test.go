package storagetest

import (
	"testing"

	"github.com/caddyserver/certmagic"
)

// TestFileStorage: what Caddy uses by default passes, so that the suite asks for no more than it may.
func TestFileStorage(t *testing.T) {
	dir := t.TempDir()
	Run(t, func(*testing.T) certmagic.Storage { return &certmagic.FileStorage{Path: dir} })
}
