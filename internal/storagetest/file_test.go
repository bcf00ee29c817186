package storagetest

import (
	"testing"

	"github.com/caddyserver/certmagic"
)

// TestFileStorage: Caddy's default storage passes, so the suite requires no more than the interface promises.
func TestFileStorage(t *testing.T) {
	dir := t.TempDir()
	Run(t, func(*testing.T) certmagic.Storage { return &certmagic.FileStorage{Path: dir} })
}
