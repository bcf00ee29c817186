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
	"github.com/rogpeppe/go-internal/txtar"

	_ "github.com/theworklabs/edge/modules/health"
	_ "github.com/theworklabs/edge/modules/presets"
	_ "github.com/theworklabs/edge/modules/upstreams"
)

var update = flag.Bool("update", false, "write the results of the fixtures to the files of testdata")

// TestCaddyfilesAdaptToExpectedResult adapts the Caddyfiles of testdata. Each file has two sections: Caddyfile, and its result, which is
// either adapted.json or error. After an intended change, run go test ./modules/presets -update, and read the diff.
func TestCaddyfilesAdaptToExpectedResult(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sections := archive.Files
			if len(sections) == 0 || sections[0].Name != "Caddyfile" {
				t.Fatalf("%s does not begin with a section Caddyfile", file)
			}
			got := adapt(sections[0].Data)
			if *update {
				archive.Files = []txtar.File{sections[0], got}
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(sections) != 2 {
				t.Fatalf("%s has %d sections, want 2; got %s:\n%s", file, len(sections), got.Name, got.Data)
			}
			if want := sections[1]; got.Name != want.Name || !bytes.Equal(got.Data, want.Data) {
				t.Errorf("got %s:\n%s\nwant %s:\n%s", got.Name, got.Data, want.Name, want.Data)
			}
		})
	}
}

// adapt returns the section with the result of adapting a Caddyfile.
func adapt(caddyfile []byte) txtar.File {
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(caddyfile, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return txtar.File{Name: "error", Data: []byte(err.Error() + "\n")}
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, adapted, "", "\t"); err != nil {
		return txtar.File{Name: "error", Data: []byte(err.Error() + "\n")}
	}
	pretty.WriteByte('\n')
	return txtar.File{Name: "adapted.json", Data: pretty.Bytes()}
}
