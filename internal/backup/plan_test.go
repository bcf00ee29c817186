package backup

import (
	"context"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

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

// TestTheLabelOfADatabaseIsForItsDataAlone: no backup of it has what else it mounts.
func TestTheLabelOfADatabaseIsForItsDataAlone(t *testing.T) {
	stack := parseStack(t, `{"name": "shop", "volumes": {"data": {}, "archive": {}, "moved": {}, "wal": {}, "only": {}}, "services": {
		"db": {"labels": {"edge.backup": "postgres"}, "volumes": [
			{"type": "volume", "source": "data", "target": "/var/lib/postgresql/data/"}, {"type": "volume", "source": "archive", "target": "/archive"}]},
		"moved": {"labels": {"edge.backup": "postgres"}, "environment": {"PGDATA": "/pg/data"}, "volumes": [
			{"type": "volume", "source": "moved", "target": "/pg"}, {"type": "volume", "source": "wal", "target": "/wal"}]},
		"other": {"labels": {"edge.backup": "mariadb"}, "volumes": [{"type": "volume", "source": "only", "target": "/somewhere"}]}
	}}`)
	if got := strings.Join(Uncovered(stack, everyPathIsADirectory), " "); got != "archive wal" {
		t.Errorf("got %s", got)
	}
}

// TestForeignKeysMayHaveSeveralColumns: a row refers to another one with all of them.
func TestForeignKeysMayHaveSeveralColumns(t *testing.T) {
	keys := foreignKeys([]string{
		"shop\tlines\tshop\torders\tfk_order\torder_id\tid", "shop\tlines\tshop\torders\tfk_order\tyear\tyear",
		"shop\tlines\tshop\torders\tfk_other\tother\tid", "shop\tnotes\tmain\torders\tfk_order\torder_id\tid", "no key",
	})
	var got []string
	for _, k := range keys {
		got = append(got, k.String())
	}
	if text := strings.Join(got, "; "); text != "shop.lines.order_id, year refers to no row of orders; shop.lines.other refers to no row of orders; shop.notes.order_id refers to no row of orders" {
		t.Errorf("got %s", text)
	}
	const want = "SELECT COUNT(*) FROM `shop`.`lines` c LEFT JOIN `shop`.`orders` p ON p.`id` = c.`order_id` AND p.`year` = c.`year` WHERE c.`order_id` IS NOT NULL AND c.`year` IS NOT NULL AND p.`id` IS NULL;"
	if got := keys[0].orphans(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestCopiesThatTheMachineCannotReadAreRefused, and the hint is the dump.
func TestCopiesThatTheMachineCannotReadAreRefused(t *testing.T) {
	for _, c := range []struct {
		architecture, version, image string
		logical                      bool
		want                         string
	}{
		{"other", "10.11.6-MariaDB", "same", false, "the copy of db was made on other, and this machine is " + runtime.GOARCH},
		{runtime.GOARCH, "10.11.6-MariaDB", "same", false, ""},
		{runtime.GOARCH, "10.6.12-MariaDB", "other", false, "the copy of db is of version 10.6, and its image has 10.11"},
		{runtime.GOARCH, "10.11.2-MariaDB", "other", false, ""},
		{"other", "10.6.12-MariaDB", "other", true, ""},
	} {
		docker := &versionDocker{text: "mariadbd  Ver 10.11.6-MariaDB for debian-linux-gnu"}
		r := &restoreRun{Restore: &Restore{Docker: docker, Logical: c.logical}, helper: &helper{docker: docker}}
		err := r.checkCompatible(t.Context(), &target{
			service: "db", kind: MariaDB, container: compose.Container{Image: "same"}, database: &Database{Version: c.version},
			manifest: &Manifest{Architecture: c.architecture, Images: map[string]string{"db": c.image}},
		})
		if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want || hint.Of(err) != "restore the dump, with --logical") {
			t.Errorf("%+v: got %v, hint %q", c, err, hint.Of(err))
		}
	}
}

// versionDocker is a docker command whose containers print a text.
type versionDocker struct{ text string }

// Run implements [Docker].
func (d *versionDocker) Run(context.Context, ...string) (stdout, stderr string, err error) {
	return d.text, "", nil
}

// Stream implements [Docker].
func (d *versionDocker) Stream(_ context.Context, _ io.Reader, stdout io.Writer, _ ...string) (string, error) {
	_, err := io.WriteString(stdout, d.text)
	return completion + "\n", err
}

// silentDocker is a docker command of a server that does not answer.
type silentDocker struct {
	recordingDocker
	hasClient bool
}

// Stream implements [Docker]. The second command ends the processes of the first.
func (d *silentDocker) Stream(ctx context.Context, _ io.Reader, _ io.Writer, _ ...string) (string, error) {
	if d.hasClient {
		return completion + "\n", nil
	}
	d.hasClient = true
	<-ctx.Done()
	return "", context.Cause(ctx)
}

// TestAStatementThatIsNotAnsweredEndsTheBackup: otherwise it keeps its lock, and the databases' logs, for ever.
func TestAStatementThatIsNotAnsweredEndsTheBackup(t *testing.T) {
	c := &container{compose.Container{ID: "x"}, &silentDocker{}, "db"}
	session, err := c.openClient(t.Context(), "client", "end")
	if err != nil {
		t.Fatal(err)
	}
	session.timeout = time.Millisecond
	_, err = session.query("SELECT 1;")
	if err == nil || !strings.Contains(err.Error(), "db has not answered within 1ms: SELECT 1;") || !strings.Contains(hint.Of(err), "pg_stat_activity") {
		t.Errorf("got %v, hint %q", err, hint.Of(err))
	}
}
