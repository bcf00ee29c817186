package dblog

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 26, 14, 0, 0, 0, time.UTC)

func minute(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }

func stored(snapshot string, until int, chain string, from, to Position) Stored {
	return Stored{Snapshot: snapshot, Until: minute(until), Span: Span{Chain: chain, From: from, To: to}}
}

func at(file string, offset int64) Position { return Position{file, offset} }

func TestPositionsAreInTheOrderOfTheLog(t *testing.T) {
	sorted := []Position{at("binlog.000009", 4), at("binlog.000010", 0), at("binlog.000010", 7), at("binlog.999999", 1), at("binlog.1000000", 0)}
	if !slices.IsSortedFunc(sorted, Position.Compare) {
		t.Error("a position is out of order")
	}
}

func TestASpanIsATag(t *testing.T) {
	want := Span{"c1", at("binlog.000001", 4), at("binlog.000002", 345), "0123abcd"}
	got, err := ParseSpan(want.String())
	if err != nil || got != want || strings.Contains(want.String(), ",") {
		t.Errorf("got %+v, %v from %s", got, err, want)
	}
	for _, text := range []string{"", "a:b:c", "c:f:x:f:1:m", "c:f:1:f:x:m"} {
		if _, err := ParseSpan(text); err == nil {
			t.Errorf("%q is a span", text)
		}
	}
}

func TestCoverSelectsAsLittleAsPossibleOfTheRightChain(t *testing.T) {
	all := []Stored{
		stored("before", 1, "a", at("f1", 0), at("f1", 100)),
		stored("one", 2, "a", at("f1", 100), at("f1", 200)),
		stored("two", 3, "a", at("f1", 200), at("f1", 300)),
		stored("nothing new", 4, "a", at("f1", 300), at("f1", 300)),
		stored("three", 5, "a", at("f1", 300), at("f2", 50)),
		stored("one to three", 5, "a", at("f1", 100), at("f2", 50)),
		// The database was restored, and its log begins anew.
		stored("anew", 7, "b", at("f1", 0), at("f1", 250)),
		stored("anew two", 8, "b", at("f1", 250), at("f3", 0)),
	}
	for _, c := range []struct {
		name     string
		from     Position
		backedUp int
		until    int
		want     string
	}{
		{"one snapshot has all", at("f1", 150), 1, 5, "one to three"},
		{"a time before the first snapshot", at("f1", 50), 0, 0, "before"},
		{"also for an earlier time", at("f1", 150), 1, 3, "one to three"},
		{"two snapshots", at("f1", 50), 0, 5, "before, one to three"},
		{"no change since then", at("f2", 50), 5, 5, ""},
		{"after the restore", at("f1", 100), 6, 8, "anew, anew two"},
		{"later than the last one of its chain", at("f1", 100), 1, 6, "the logs have a gap: they reach until 2026-11-26T14:05:00Z"},
		{"no log at all", at("f9", 1), 1, 2, "the logs have a gap: nothing is stored of the log after the backup"},
	} {
		selected, err := Cover(all, c.from, minute(c.backedUp), minute(c.until))
		var names []string
		for _, s := range selected {
			names = append(names, s.Snapshot)
		}
		got := strings.Join(names, ", ")
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestPiecesOverlapByTheMark(t *testing.T) {
	files := []Piece{{"f1", 0, 9000}, {"f2", 0, 10000}, {"f3", 0, 700}, {"f4", 0, 1}}
	pieces, err := Pieces(files, at("f1", 8000), at("f3", 600))
	want := []Piece{{"f1", 8000 - MarkSize, 9000}, {"f2", 0, 10000}, {"f3", 0, 600}}
	if err != nil || !slices.Equal(pieces, want) {
		t.Errorf("got %v, %v, want %v", pieces, err, want)
	}
	if pieces, err := Pieces(files, at("f2", 10), at("f2", 20)); err != nil || !slices.Equal(pieces, []Piece{{"f2", 0, 20}}) {
		t.Errorf("in one file: %v, %v", pieces, err)
	}
	for name, c := range map[string][2]Position{"purged": {at("f0", 1), at("f3", 1)}, "lost": {at("f3", 1), at("f5", 1)}} {
		if _, err := Pieces(files, c[0], c[1]); !errors.Is(err, ErrGap) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := Pieces(files, at("f3", 1), at("f3", 800)); err == nil {
		t.Error("a file that is too short is taken")
	}
}

// logFiles are the files of a log with random content.
func logFiles(names ...string) map[string][]byte {
	files := make(map[string][]byte)
	for _, name := range names {
		content := make([]byte, 20000)
		for i := range content {
			content[i] = byte(rand.Uint32())
		}
		files[name] = content
	}
	return files
}

// join joins pieces, and returns the files.
func join(log map[string][]byte, pieces ...Piece) (map[string][]byte, error) {
	joined := make(map[string][]byte)
	j := Joiner{Append: func(file string, size int64, content io.Reader) error {
		text, err := io.ReadAll(content)
		if int64(len(text)) != size {
			return errors.New("the size is wrong")
		}
		joined[file] = append(joined[file], text...)
		return err
	}}
	for _, p := range pieces {
		if err := j.Add(p, bytes.NewReader(log[p.File][p.From:p.To])); err != nil {
			return nil, err
		}
	}
	return joined, nil
}

func TestPiecesAreJoined(t *testing.T) {
	log := logFiles("f1", "f2", "f3")
	pieces := []Piece{
		{"f1", 0, 9000},
		{"f1", 5000, 20000},  // overlaps by less than the mark
		{"f1", 1000, 20000},  // is known already
		{"f1", 15000, 20000}, // so is this
		{"f2", 0, 100},
		{"f2", 0, 18000}, // from the beginning again
		{"f1", 10, 19000},
		{"f2", 2000, 20000}, // overlaps by more than the mark
		{"f3", 0, 20000},
	}
	joined, err := join(log, pieces...)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range log {
		if !bytes.Equal(joined[name], content) {
			t.Errorf("%s has %d bytes, and other content", name, len(joined[name]))
		}
	}
	for name, c := range map[string][]Piece{
		"a gap in a file":          {{"f1", 0, 100}, {"f1", 101, 200}},
		"the beginning is missing": {{"f1", 0, 20000}, {"f2", 5, 200}},
	} {
		if _, err := join(log, c...); !errors.Is(err, ErrGap) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAPieceOfAnotherLogIsRefused(t *testing.T) {
	one, other := logFiles("f1"), logFiles("f1")
	j := Joiner{Append: func(_ string, _ int64, content io.Reader) error {
		_, err := io.Copy(io.Discard, content)
		return err
	}}
	if err := j.Add(Piece{"f1", 0, 9000}, bytes.NewReader(one["f1"][:9000])); err != nil {
		t.Fatal(err)
	}
	if err := j.Add(Piece{"f1", 5000, 20000}, bytes.NewReader(other["f1"][5000:])); !errors.Is(err, ErrOtherLog) {
		t.Errorf("got %v", err)
	}
	if err := j.Add(Piece{"f1", 5000, 20000}, bytes.NewReader(one["f1"][5000:5010])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a piece that is cut: got %v", err)
	}
}

func TestTheTailIsTheMark(t *testing.T) {
	content := logFiles("f")["f"]
	var tail Tail
	for rest := content; len(rest) > 0; {
		n := min(len(rest), 1+rand.IntN(3000))
		_, _ = tail.Write(rest[:n])
		rest = rest[n:]
	}
	if MarkOf(tail.Bytes()) != MarkOf(content) || len(tail.Bytes()) != MarkSize {
		t.Error("the tail is another one")
	}
	tail.Reset()
	if _, _ = tail.Write(content[:10]); MarkOf(tail.Bytes()) != MarkOf(content[:10]) {
		t.Error("a short file has another mark")
	}
	if p, err := ParsePiece(Piece{"binlog.000001", 44, 50}.Name(), 6); err != nil || p != (Piece{"binlog.000001", 44, 50}) {
		t.Errorf("got %v, %v", p, err)
	}
	if _, err := ParsePiece("binlog.000001", 6); err == nil {
		t.Error("a name without an offset is a piece")
	}
}

func TestASpanIsContinuedByALaterOneOfItsChain(t *testing.T) {
	killed := stored("killed", 2, "a", at("f1", 100), at("f1", 200))
	next := stored("next", 3, "a", at("f1", 100), at("f1", 300))
	last := stored("last", 4, "a", at("f1", 300), at("f1", 300))
	other := stored("other", 5, "b", at("f1", 300), at("f1", 400))
	all := []Stored{killed, next, last, other}
	for _, c := range []struct {
		span Stored
		want bool
	}{{killed, false}, {next, true}, {last, false}, {other, false}} {
		if got := IsContinued(all, c.span); got != c.want {
			t.Errorf("%s: %v", c.span.Snapshot, got)
		}
	}
}
