package backup

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/restic"
)

func TestStreamsWithoutTheirEndAreNotWhole(t *testing.T) {
	filler := strings.Repeat("x", 3*edgeSize)
	end := strings.Repeat("\x00", 1024)
	for _, c := range []struct {
		format, data string
		isWhole      bool
	}{
		{FormatSQL, filler + "\n-- Dump completed on 2026-11-26\n", true},
		{FormatSQL, filler + "\n-- PostgreSQL database cluster dump complete\n--\n", true},
		{FormatSQL, "-- Dump completed\n" + filler, false},
		{FormatSQL, "", false},
		{FormatMbstream, "XBSTCK01" + filler, true},
		{FormatMbstream, filler, false},
		{FormatPgDump, "PGDMP" + filler, true},
		{FormatPgDump, "pg_dump: error", false},
		{FormatTar, filler + end, true},
		{FormatBaseTar, filler + end[1:], false},
		{FormatWALTar, end, true},
		{FormatBinlog, "", false},
		{FormatRDB, "REDIS0010" + filler + "\xff12345678", true},
		{FormatRDB, "REDIS0010" + filler, false},
		{FormatMongoDump, "\x1f\x8b" + filler, true},
		{FormatMongoDump, filler, false},
		{"unknown", filler, false},
	} {
		for _, chunk := range []int{1 << 20, 100} {
			s := newStream()
			for data := []byte(c.data); len(data) > 0; data = data[min(chunk, len(data)):] {
				_, _ = s.Write(data[:min(chunk, len(data))])
			}
			if err := s.isWhole(c.format); (err == nil) != c.isWhole || s.size != int64(len(c.data)) {
				t.Errorf("%s, %.20q…: got %v, %d bytes", c.format, c.data, err, s.size)
			}
		}
	}
}

func TestTheMarkAfterRedissSnapshotIsHeldBack(t *testing.T) {
	for _, chunk := range []int{1, 7, 1000} {
		var out bytes.Buffer
		h := &heldEnd{w: &out, n: 40}
		text := strings.Repeat("data", 50) + strings.Repeat("m", 40)
		for data := []byte(text); len(data) > 0; data = data[min(chunk, len(data)):] {
			if _, err := h.Write(data[:min(chunk, len(data))]); err != nil {
				t.Fatal(err)
			}
		}
		if out.String() != strings.Repeat("data", 50) {
			t.Errorf("chunks of %d: got %d bytes", chunk, out.Len())
		}
		if err := h.flush(); err != nil || out.String() != text {
			t.Errorf("chunks of %d: flushed %d bytes, %v", chunk, out.Len(), err)
		}
	}
}

func TestTheBeginningOfADumpIsSeenOnce(t *testing.T) {
	calls := 0
	h := &headerWatch{limit: 10, onFull: func(head string) error { calls++; return nil }}
	for range 5 {
		if _, err := io.WriteString(h, "12345"); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.finish(); err != nil || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
	broken := errors.New("other instant")
	h = &headerWatch{limit: 10, onFull: func(head string) error { return broken }}
	_, _ = io.WriteString(h, "1234")
	if err := h.finish(); err != broken { // a short stream
		t.Errorf("got %v", err)
	}
}

func TestMuchLessDataIsReported(t *testing.T) {
	set := func(size, rows int64, names ...string) *Manifest {
		m := &Manifest{Databases: []Database{{Service: "db", Tables: map[string]int64{"t": rows}}}}
		for _, name := range names {
			m.Parts = append(m.Parts, Part{Name: name, Format: FormatSQL, Size: size})
		}
		return m
	}
	before := set(1<<20, 1000, "a.sql", "b.sql")
	before.Parts = append(before.Parts, Part{Name: "wal.tar", Format: FormatWALTar, Size: 1 << 30})
	for _, c := range []struct {
		name  string
		after *Manifest
		want  []string
	}{
		{"the same", set(1<<20, 1000, "a.sql", "b.sql"), nil},
		{"a little less", set(600<<10, 501, "a.sql", "b.sql"), nil},
		{"half of the size", set(500<<10, 1000, "a.sql", "b.sql"), []string{"a.sql has 512 kB, after 1.0 MB", "b.sql"}},
		{"half of the rows", set(1<<20, 499, "a.sql", "b.sql"), []string{"db has 499 rows, after 1000"}},
		{"a part is missing", set(1<<20, 1000, "a.sql"), []string{"b.sql is no longer part"}},
	} {
		got := compareManifests(before, c.after)
		if len(got) != len(c.want) {
			t.Errorf("%s: got %q", c.name, got)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], c.want[i]) {
				t.Errorf("%s: got %q, want %q", c.name, got[i], c.want[i])
			}
		}
	}
}

// TestASetThatHasShrunkIsNoMeasure for the next one, which then would be as it should be.
func TestASetThatHasShrunkIsNoMeasure(t *testing.T) {
	snapshot := func(id, set string, more ...string) restic.Snapshot {
		return restic.Snapshot{ID: id, Tags: append([]string{"edge-backup", "project=shop", "set=" + set, "app=crm", "part=manifest.json", "parts=0"}, more...)}
	}
	sets := groupSets([]restic.Snapshot{snapshot("1", "a"), snapshot("2", "b", "shrunk=1"), snapshot("3", "c", "shrunk=2")}, "shop")
	if last := lastWhole(sets, "crm"); last == nil || last.ID != "a" {
		t.Errorf("got %+v", last)
	}
	if !sets[2].HasShrunk || lastWhole(sets, "books") != nil || lastWhole(sets[1:], "crm") != nil {
		t.Errorf("got %+v", sets)
	}
}

// TestABackupWarnsOfWhatTheDataLacks, since a drill compares with the set only.
func TestABackupWarnsOfWhatTheDataLacks(t *testing.T) {
	b := &appBackup{manifest: &Manifest{Databases: []Database{{
		Service: "db", Inconsistencies: map[string]int64{"tenants without a database": 1, missingAttachments: 3, "a.b refers to no row of c": 2},
	}}}}
	b.warnOfInconsistencies()
	if want := []string{"db: a.b refers to no row of c: 2", "db: tenants without a database: 1"}; !slices.Equal(b.manifest.Warnings, want) {
		t.Errorf("got %q", b.manifest.Warnings)
	}
}

func TestManifestsOfLaterVersionsAreRefused(t *testing.T) {
	for text, want := range map[string]string{`{"version": 1}`: "", `{"version": 2}`: "use a later edge", `{}`: "version 0", `x`: "read the manifest"} {
		_, err := parseManifest([]byte(text))
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

func TestBytesAreFormattedWithUnits(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 9949: "9.9 kB", 123456: "123 kB", 999_600: "1.0 MB", 5_000_000_000: "5.0 GB"} {
		if got := FormatBytes(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}
