package backup

import (
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

func parseStack(t *testing.T, text string) *compose.Stack {
	t.Helper()
	s, err := compose.ParseStack(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func everyPathIsADirectory(string) bool { return true }

const shopStack = `{"name": "shop", "volumes": {"db": {}, "data": {}, "old": {}, "cache": {}}, "services": {
	"db":    {"labels": {"edge.backup": "postgres", "edge.backup.app": "crm"}, "volumes": [{"type": "volume", "source": "db", "target": "/var/lib/postgresql/data"}]},
	"app":   {"labels": {"edge.backup": "files", "edge.backup.app": "crm"}, "volumes": [
		{"type": "volume", "source": "data", "target": "/data"}, {"type": "volume", "source": "data", "target": "/data/inside/"},
		{"type": "bind", "source": "/srv/uploads", "target": "/uploads"}, {"type": "bind", "source": "/etc/app.conf", "target": "/etc/app", "read_only": true}]},
	"queue": {"labels": {"edge.backup": "redis", "edge.backup.app": "crm"}},
	"cache": {"labels": {"edge.backup": "none"}, "volumes": [{"type": "volume", "source": "cache", "target": "/cache"}]},
	"blog":  {"labels": {"edge.backup": "mariadb"}},
	"other": {"volumes": [{"type": "volume", "source": "old", "target": "/old"}, {"type": "bind", "source": "/srv/more", "target": "/more"}]}
}}`

func TestLabelsSayWhatIsStored(t *testing.T) {
	stack := parseStack(t, shopStack)
	plan, err := NewPlan(stack, everyPathIsADirectory)
	if err != nil {
		t.Fatal(err)
	}
	const want = `blog: blog (mariadb)
crm: db (postgres), queue (redis), app (files: /data, /data/inside, /uploads)
edge: the project's files
`
	if got := plan.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := strings.Join(Uncovered(stack, everyPathIsADirectory), " "); got != "/srv/more old" {
		t.Errorf("uncovered: %s", got)
	}
	some, err := plan.Select([]string{"edge", "crm", "edge"})
	if err != nil || strings.Join(some.names(), " ") != "edge crm" {
		t.Errorf("got %v, %v", some, err)
	}
	if _, err := plan.Select([]string{"nothing"}); err == nil || !strings.Contains(hint.Of(err), "blog, crm, edge") {
		t.Errorf("got %v with hint %q", err, hint.Of(err))
	}
}

func TestWrongLabelsAreErrors(t *testing.T) {
	for text, want := range map[string]string{
		`{"db": {"labels": {"edge.backup": "mysql"}}}`:                           "edge.backup: mysql",
		`{"db": {"labels": {"edge.backup.app": "crm"}}}`:                         "but not edge.backup",
		`{"db": {"labels": {"edge.backup": "files"}}}`:                           "no volume",
		`{"db": {"labels": {"edge.backup": "redis", "edge.backup.app": "a,b"}}}`: `"a,b"`,
		`{"db": {}}`: "no service of the project shop has the label",
		`{"db": {"labels": {"edge.backup": "none"}}}`: "no service of the project shop has the label",
	} {
		_, err := NewPlan(parseStack(t, `{"name": "shop", "services": `+text+`}`), everyPathIsADirectory)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
