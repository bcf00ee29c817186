package cmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestServeChoosesConfigurationOfContainer(t *testing.T) {
	const shipped, mine = "shipped", "mine"
	for _, c := range []struct{ name, own, caddy, want string }{
		{"the image as it is", shipped, "", "own"},
		{"a mounted one", mine, "", "own"},
		{"in place of caddy:2", shipped, mine, "caddy"},
		{"an image of one's own without the shipped one", "", mine, "caddy"},
		{"two of them", mine, mine, ""},
	} {
		dir := t.TempDir()
		own, caddy := filepath.Join(dir, "own"), filepath.Join(dir, "caddy")
		for path, text := range map[string]string{own: c.own, caddy: c.caddy} {
			if text == "" {
				continue
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := chooseConfig(own, caddy, []byte(shipped))
		switch {
		case c.want == "":
			if err == nil || !strings.Contains(err.Error(), own) || !strings.Contains(err.Error(), caddy) {
				t.Errorf("%s: %q %v, want an error that names both", c.name, got, err)
			}
		case err != nil || got != filepath.Join(dir, c.want):
			t.Errorf("%s: %q %v, want %s", c.name, got, err, c.want)
		}
	}
}
