package edge_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestElasticsearchKeepsLogsAsLongAsIsSaid runs the command of the service elasticsearch-retention with a curl that only notes what it is asked for: the stream may be there, and a template
// is only for new ones.
func TestElasticsearchKeepsLogsAsLongAsIsSaid(t *testing.T) {
	text, err := os.ReadFile("compose.observability.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var parsed struct {
		Services map[string]struct{ Entrypoint, Command []string }
	}
	if err := yaml.Unmarshal(text, &parsed); err != nil {
		t.Fatal(err)
	}
	service := parsed.Services["elasticsearch-retention"]
	args := append(service.Entrypoint, service.Command...)
	for i, arg := range args {
		args[i] = strings.NewReplacer("$$", "$", "${LOG_RETENTION:-14d}", "14d").Replace(arg)
	}
	dir := t.TempDir()
	stub := `#!/bin/sh
case "$*" in
"-fsS -o /dev/null http://elasticsearch:9200/_data_stream/logs-containers-edge") echo "exists? $EXISTS" >>"` + dir + `/log"; [ "$EXISTS" = yes ]; exit ;;
esac
[ "$1 $2 $3 $5 $6 $7" = "-fsS -X PUT -H Content-Type: application/json -d" ] || { echo "unexpected: $*" >&2; exit 2; }
echo "$4 $8" >>"` + dir + `/log"
`
	if err := os.WriteFile(filepath.Join(dir, "curl"), []byte(stub), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, exists := range []string{"no", "yes"} {
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "RETENTION=14d", "EXISTS=" + exists}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		log, err := os.ReadFile(filepath.Join(dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, "log")); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(log)), "\n")
		template := strings.TrimPrefix(lines[0], "http://elasticsearch:9200/_index_template/edge-containers ")
		if !json.Valid([]byte(template)) || !strings.Contains(template, `"data_retention": "14d"`) {
			t.Errorf("the template is %s", lines[0])
		}
		want := "exists? " + exists
		if exists == "no" {
			want += "; http://elasticsearch:9200/_data_stream/logs-containers-edge "
		}
		want += `; http://elasticsearch:9200/_data_stream/logs-containers-edge/_lifecycle {"data_retention": "14d"}; http://elasticsearch:9200/logs-containers-edge/_settings {"index.lifecycle.prefer_ilm": false}`
		if got := strings.Join(lines[1:], "; "); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
