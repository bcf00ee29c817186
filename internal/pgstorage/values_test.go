package pgstorage

import (
	"strings"
	"testing"
)

func TestListDirIncludesDirectories(t *testing.T) {
	keys := []string{"d/a", "d/b/1", "d/b/c/2"}
	for recursive, want := range map[bool]string{false: "d/a d/b", true: "d/a d/b d/b/1 d/b/c d/b/c/2"} {
		if got := strings.Join(listDir("d", keys, recursive), " "); got != want {
			t.Errorf("listDir, recursive %t: %s, want %s", recursive, got, want)
		}
	}
}
