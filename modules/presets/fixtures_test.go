package presets_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/theworklabs/edge/modules/health"
	_ "github.com/theworklabs/edge/modules/presets"
	_ "github.com/theworklabs/edge/modules/upstreams"
)

var update = flag.Bool("update", false, "write the expected results of the fixtures")

// TestCaddyfilesAdaptToExpectedResult adapts each testdata/NAME.caddyfile, and compares the result with NAME.json, or the error with
// NAME.error. After an intended change, run go test ./modules/presets -update, and read the diff.
func TestCaddyfilesAdaptToExpectedResult(t *testing.T) {
	files, err := filepath.Glob("testdata/*.caddyfile")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfile"), func(t *testing.T) {
			input, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, want := adapt(input), strings.TrimSuffix(file, ".caddyfile")+".json"
			if got.err != nil {
				want = strings.TrimSuffix(file, ".caddyfile") + ".error"
			}
			if *update {
				if err := os.WriteFile(want, got.text(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			expected, err := os.ReadFile(want)
			if err != nil {
				t.Fatalf("%v; got:\n%s", err, got.text())
			}
			if !bytes.Equal(expected, got.text()) {
				t.Errorf("got:\n%s\nwant:\n%s", got.text(), expected)
			}
		})
	}
}

// adapted is the result of adapting a Caddyfile.
type adapted struct {
	json []byte
	err  error
}

func adapt(input []byte) adapted {
	out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(input, map[string]any{"filename": "Caddyfile"})
	return adapted{out, err}
}

func (a adapted) text() []byte {
	if a.err != nil {
		return []byte(a.err.Error() + "\n")
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, a.json, "", "\t"); err != nil {
		return []byte(err.Error())
	}
	return append(pretty.Bytes(), '\n')
}
