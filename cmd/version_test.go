package cmd

import (
	"regexp"
	"testing"
)

func TestVersion(t *testing.T) {
	if got := Version(); !regexp.MustCompile(`^edge \S+, Caddy \S+, go1\.\S+$`).MatchString(got) {
		t.Errorf("got %q", got)
	}
}
