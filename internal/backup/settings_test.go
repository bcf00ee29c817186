package backup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

func TestSettingsAreWrittenAndRead(t *testing.T) {
	dir := t.TempDir()
	want := &Settings{Repository: "s3:https://s3.example/bucket", Password: "a-b-c", CopyTo: "/srv/copy", Env: []string{"AWS_ACCESS_KEY_ID=key", "AWS_SECRET_ACCESS_KEY=se=cret"}}
	if err := want.write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := ReadSettings(dir)
	if err != nil || got.Repository != want.Repository || got.Password != want.Password || got.CopyTo != want.CopyTo || strings.Join(got.Env, " ") != strings.Join(want.Env, " ") {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := want.write(dir); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("written twice: %v", err)
	}
	t.Setenv("EDGE_BACKUP_REPOSITORY", "/other")
	if got, err := ReadSettings(dir); err != nil || got.Repository != "/other" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestSettingsThatAreWrongAreErrors(t *testing.T) {
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		want       string
	}{
		{"readable by others", "EDGE_BACKUP_REPOSITORY=/x\n", 0o644, "other users can read"},
		{"no repository", "EDGE_BACKUP_PASSWORD=x\n", 0o600, "no repository is set up"},
		{"no password", "EDGE_BACKUP_REPOSITORY=/x\n", 0o600, "has no EDGE_BACKUP_PASSWORD"},
		{"no variable", "# comment\n\nexport X\n", 0o600, "backup.env:3: want NAME=VALUE"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "backup.env"), []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSettings(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	if _, err := ReadSettings(t.TempDir()); err == nil || !strings.Contains(hint.Of(err), "edge backup init") {
		t.Errorf("no file: got %v", err)
	}
}

func TestOptionsOfTheComposeFile(t *testing.T) {
	read := func(text string) (Options, bool, error) {
		return ReadOptions(&compose.Stack{Backup: []byte(text)})
	}
	if o, isSet, err := read(""); o != DefaultOptions || isSet || err != nil {
		t.Errorf("none: got %+v, %v, %v", o, isSet, err)
	}
	o, isSet, err := read(`{"keep": {"daily": 2}, "max_age": "90m", "keep_logs": "24h", "max_log_age": "2m", "max_rate": "50MB"}`)
	if want := (Options{Keep: Retention{Daily: 2}, MaxAge: 90 * time.Minute, DrillInterval: DefaultOptions.DrillInterval, KeepLogs: 24 * time.Hour, MaxLogAge: 2 * time.Minute, MaxRate: 50_000_000}); o != want || !isSet || err != nil {
		t.Errorf("got %+v, %v, %v", o, isSet, err)
	}
	if o, _, err := read(`{"max_rate": "unlimited"}`); o.MaxRate != 0 || err != nil {
		t.Errorf("unlimited: got %d, %v", o.MaxRate, err)
	}
	for text, want := range map[string]string{
		`{"max_rate": "1000"}`:      `"1000" is not a rate of at least 1MiB`,
		`{"max_rate": "fast"}`:      `"fast" is not a rate`,
		`{"max_rate": "-1MB"}`:      `"-1MB" is not a rate`,
		`{"max_rate": 20}`:          "max_rate",
		`{"keep": {}}`:              "keeps no set",
		`{"keep": {"daily": -1}}`:   "keeps no set",
		`{"max_age": "1 day"}`:      `"1 day" is not a duration`,
		`{"drill_interval": "-1h"}`: "is not a duration",
		`{"retain": 3}`:             "retain",
		`[]`:                        "x-edge-backup",
	} {
		if _, _, err := read(text); err == nil || !strings.Contains(err.Error(), want) || hint.Of(err) == "" {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

func TestKeysHaveGroups(t *testing.T) {
	a, b := newKey(), newKey()
	if a == b || len(a) != 39 || strings.Count(a, "-") != 7 {
		t.Errorf("got %s and %s", a, b)
	}
}

// TestALineIsAddedToAFileWhoseLastOneIsNotEnded, as an editor may leave it: otherwise the password would have it at its end.
func TestALineIsAddedToAFileWhoseLastOneIsNotEnded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "backup.env")
	for before, want := range map[string]string{"": "B=2\n", "A=1\n": "A=1\nB=2\n", "A=1": "A=1\nB=2\n"} {
		if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := appendLine(file, "B=2"); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", before, got, err)
		}
	}
}

func TestTheRateOfACommand(t *testing.T) {
	if n, err := ParseRate("--max-rate", "unlimited"); n != 0 || err != nil {
		t.Errorf("unlimited: got %d, %v", n, err)
	}
	if _, err := ParseRate("--max-rate", "0"); err == nil || !strings.Contains(err.Error(), `--max-rate: "0" is not a rate`) {
		t.Errorf("0: %v", err)
	}
}
