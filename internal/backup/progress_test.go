package backup

import (
	"strings"
	"testing"
)

func TestProgressOnATerminalHasABar(t *testing.T) {
	var out strings.Builder
	p := &progress{out: &out, isTerminal: true}
	p.startStep("first")
	_, _ = p.Write(make([]byte, 500))
	p.finishStep("first is done")
	p.expect(10_000)
	for _, name := range []string{"second", "third"} {
		p.startStep("%s", name)
		_, _ = p.Write(make([]byte, 6_000))
		p.finishStep("%s is done", name)
	}
	p.startStep("last")
	for _, want := range []string{
		"\x1b[Kfirst … 0 B", "first is done (0.0s)\n",
		"[----------]   0% second … 0 B", "[######----]  60% third … 6.0 kB",
		"[#########-]  99% last … 12 kB", // more than was expected
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%q", want, out.String())
		}
	}
}

func TestProgressWithoutATerminalHasOnlyLines(t *testing.T) {
	var out strings.Builder
	p := &progress{out: &out}
	p.expect(10)
	p.startStep("first")
	_, _ = p.Write(make([]byte, 5))
	p.finishStep("first is done")
	if want := "first is done (0.0s)\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestASizeIsExpectedIfEachApplicationHasASet(t *testing.T) {
	sets := []*Set{{App: "crm", Size: 1}, {App: "books", Size: 20}, {App: "crm", Size: 300}}
	for _, c := range []struct {
		apps []App
		want int64
	}{{[]App{{Name: "crm"}, {Name: "books"}}, 320}, {[]App{{Name: "crm"}, {Name: "edge"}}, 0}, {nil, 0}} {
		if got := expectedSize(c.apps, sets); got != c.want {
			t.Errorf("%v: %d bytes, want %d", c.apps, got, c.want)
		}
	}
}
