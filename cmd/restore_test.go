package cmd

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/hint"
)

func TestTimesOfARestore(t *testing.T) {
	zone := time.FixedZone("here", 2*3600)
	now := time.Date(2026, 11, 26, 15, 30, 0, 0, zone)
	for text, want := range map[string]time.Time{
		"2026-11-25 14:02:59":       time.Date(2026, 11, 25, 14, 2, 59, 0, zone),
		"2026-11-25 14:02":          time.Date(2026, 11, 25, 14, 2, 0, 0, zone),
		"2026-11-25T14:02:59.5Z":    time.Date(2026, 11, 25, 14, 2, 59, 0, time.UTC),
		"2026-11-25T14:02:59+01:00": time.Date(2026, 11, 25, 13, 2, 59, 0, time.UTC),
		"14:02:59":                  time.Date(2026, 11, 26, 14, 2, 59, 0, zone),
		"14:02":                     time.Date(2026, 11, 26, 14, 2, 0, 0, zone),
	} {
		if got, err := parseTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "yesterday", "25:00", "2026-11-26"} {
		if got, err := parseTime(text, now); err == nil {
			t.Errorf("%s: got %v", text, got)
		}
	}
}

// TestFlagsOfARestoreThatExcludeEachOther: one that is ignored restores something else than was asked for.
func TestFlagsOfARestoreThatExcludeEachOther(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"latest --repository /mnt/other", "--repository and --env are for --new-host"},
		{"latest --env A=b", "--repository and --env are for --new-host"},
		{"latest --new-host --repository /mnt/other --tenant x", "--new-host and --tenant exclude each other"},
		{"latest --new-host --repository /mnt/other --from shop", "--new-host and --from exclude each other"},
		{"latest --tenant x --from shop", "--tenant and --from exclude each other"},
	} {
		cmd := new(cobra.Command)
		cmd.SetContext(t.Context())
		restoreCommand().CobraFunc(cmd)
		if err := cmd.ParseFlags(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		if err := runRestore(cmd, cmd.Flags().Args()); err == nil || err.Error() != c.want || hint.Of(err) == "" {
			t.Errorf("%s: %v, hint %q", c.args, err, hint.Of(err))
		}
	}
}
