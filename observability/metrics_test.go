package observability

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestAlertsAndDashboardsUseMetricsThatExist: the READMEs of the modules have all of them, and a test of theirs compares them with the code. An alert on a metric that was renamed never
// fires, and its own tests, which make series of their own, do not notice.
func TestAlertsAndDashboardsUseMetricsThatExist(t *testing.T) {
	var known strings.Builder
	readmes, err := filepath.Glob("../modules/*/README.md")
	if err != nil || len(readmes) == 0 {
		t.Fatalf("%v, %v", readmes, err)
	}
	for _, name := range readmes {
		known.WriteString(readText(t, name))
	}
	files, err := filepath.Glob("grafana/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	metric := regexp.MustCompile(`\bedge_[a-z_]+[a-z]`)
	used := 0
	for _, file := range append(files, "alerts.yaml") {
		for _, name := range metric.FindAllString(readText(t, file), -1) {
			used++
			base := name
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				base = strings.TrimSuffix(base, suffix)
			}
			if !strings.Contains(known.String(), "`"+base+"`") && !strings.Contains(known.String(), "`"+name+"`") {
				t.Errorf("%s uses %s, which no module has", file, name)
			}
		}
	}
	if used < 100 {
		t.Errorf("only %d uses were found", used)
	}
}

func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
