package preflight

import "testing"

func TestDataWithoutALabelIsFound(t *testing.T) {
	type mount = jsonObject
	labels := func(kind string) jsonObject { return jsonObject{"edge.backup": kind} }
	for _, c := range []struct {
		name   string
		change func(w *fakeHost)
		level  Level
		want   string
		hint   string
	}{
		{"no label", func(w *fakeHost) { delete(w.service("edge"), "labels") }, Note, "no service has the label edge.backup", "docs/backup.md"},
		{"no label, and a backup is wanted", func(w *fakeHost) {
			delete(w.service("edge"), "labels")
			w.backup = jsonObject{"max_age": "24h"}
		}, Error, "no service has the label edge.backup", "docs/backup.md"},
		{"wrong options", func(w *fakeHost) { w.backup = jsonObject{"max_age": "a day"} }, Error, `"a day" is not a duration`, "26h"},
		{"wrong label", func(w *fakeHost) { w.service("app")["labels"] = labels("mysql") }, Error, "edge.backup: mysql", "mariadb"},
		{"a volume without a label", func(w *fakeHost) {
			w.service("app")["labels"] = labels("redis")
			w.services["db"] = jsonObject{"image": "postgres:15", "volumes": []mount{{"type": "volume", "source": "db", "target": "/data"}}}
			w.volumes["db"] = jsonObject{"name": "shop_db"}
		}, Note, "edge backup does not store db", "none if its data can be lost"},
		{"all have one", func(w *fakeHost) {
			w.service("app")["labels"] = labels("files")
			w.service("app")["volumes"] = []mount{{"type": "volume", "source": "data", "target": "/data"}}
			w.volumes["data"] = jsonObject{"name": "shop_data"}
		}, OK, "all volumes have a label (applications: 2)", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newFakeHost(t)
			c.change(w)
			expectFinding(t, w.newCheck(t).Run(t.Context()), "backup", c.level, c.want, c.hint)
		})
	}
}
