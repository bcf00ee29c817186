package probe_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/probe"
	"github.com/theworklabs/edge/internal/registry"
)

func TestInvalidConfigIsRejected(t *testing.T) {
	uri := []string{"/health"}
	for _, c := range []struct {
		config   probe.Config
		wantText string // in the error; "": no error
	}{
		{probe.Config{}, ""},
		{probe.Config{URIs: uri}, ""},
		{probe.Config{URIs: []string{"/a?b=c", "/d%20e"}, Host: "x", Status: "204", Body: "^ok$", TCP: true}, ""},
		{probe.Config{URIs: uri, Status: "1xx"}, ""},
		{probe.Config{URIs: uri, Status: "5xx"}, ""},
		{probe.Config{Interval: 1, Timeout: 1, Rise: 1, Fall: 1, Jitter: 1}, ""},
		{probe.Config{Jitter: -1}, ""},
		{probe.Config{URIs: []string{"health"}}, `"health"`},
		{probe.Config{URIs: []string{"/health", ""}}, `""`},
		{probe.Config{URIs: []string{"http://x/health"}}, "begins with /"},
		{probe.Config{URIs: uri, Status: "0xx"}, `"0xx"`},
		{probe.Config{URIs: uri, Status: "600"}, `"600"`},
		{probe.Config{URIs: uri, Status: "20"}, `"20"`},
		{probe.Config{URIs: uri, Status: "2XX"}, `"2XX"`},
		{probe.Config{URIs: uri, Status: "2000"}, `"2000"`},
		{probe.Config{URIs: uri, Status: "20x"}, `"20x"`},
		{probe.Config{URIs: uri, Status: "ok"}, `"ok"`},
		{probe.Config{URIs: uri, Body: "("}, "body"},
		{probe.Config{Status: "200"}, "need a uri"},
		{probe.Config{Body: "ok"}, "need a uri"},
		{probe.Config{Interval: -1}, "interval"},
		{probe.Config{Timeout: -1}, "timeout"},
		{probe.Config{Rise: -1}, "rise"},
		{probe.Config{Fall: -1}, "fall"},
		{probe.Config{Jitter: 1.01}, "jitter"},
		{probe.Config{Jitter: math.Inf(1)}, "jitter"},
		{probe.Config{Jitter: math.NaN()}, "jitter"},
	} {
		err := c.config.Validate()
		_, newErr := probe.New(c.config, nil, nil)
		if (err == nil) != (newErr == nil) {
			t.Errorf("%+v: Validate returns %v, New returns %v", c.config, err, newErr)
		}
		switch {
		case c.wantText == "" && err != nil:
			t.Errorf("%+v: %v", c.config, err)
		case c.wantText != "" && (err == nil || !strings.Contains(err.Error(), c.wantText) || !strings.HasPrefix(err.Error(), "probe")):
			t.Errorf("%+v: %v, want an error that begins with probe and contains %q", c.config, err, c.wantText)
		}
	}
}

// otherProber is a prober of another type.
type otherProber struct{}

func (otherProber) Run(context.Context, registry.Target) {}
func (otherProber) Same(registry.Prober) bool            { return true }

func TestProbersAreTheSameIfTheirChecksAre(t *testing.T) {
	full := func() probe.Config {
		return probe.Config{
			URIs: []string{"/a", "/b"}, Host: "shop.example", Status: "200", Body: "ok", TCP: true,
			Interval: time.Second, Timeout: time.Second, Rise: 2, Fall: 2, Jitter: 0.5,
		}
	}
	base := full()
	defaults := probe.Config{
		Interval: probe.DefaultInterval, Timeout: probe.DefaultTimeout, Rise: probe.DefaultRise, Fall: probe.DefaultFall,
		Jitter: probe.DefaultJitter,
	}
	uri := []string{"/a"}
	for name, c := range map[string]struct{ a, b probe.Config }{
		"equal":             {base, full()},
		"explicit defaults": {probe.Config{}, defaults},
		"explicit status":   {probe.Config{URIs: uri}, probe.Config{URIs: uri, Status: "2xx"}},
		"negative jitters":  {probe.Config{Jitter: -1}, probe.Config{Jitter: -2}},
	} {
		if a, b := newExactProber(t, c.a), newExactProber(t, c.b); !a.Same(b) || !b.Same(a) {
			t.Errorf("%s: want the same", name)
		}
	}
	for name, change := range map[string]func(*probe.Config){
		"uris":        func(c *probe.Config) { c.URIs = []string{"/a"} },
		"uris' order": func(c *probe.Config) { c.URIs = []string{"/b", "/a"} },
		"uris joined": func(c *probe.Config) { c.URIs = []string{"/a /b"} },
		"host":        func(c *probe.Config) { c.Host = "" },
		"status":      func(c *probe.Config) { c.Status = "2xx" },
		"body":        func(c *probe.Config) { c.Body = "" },
		"tcp":         func(c *probe.Config) { c.TCP = false },
		"interval":    func(c *probe.Config) { c.Interval++ },
		"timeout":     func(c *probe.Config) { c.Timeout++ },
		"rise":        func(c *probe.Config) { c.Rise++ },
		"fall":        func(c *probe.Config) { c.Fall++ },
		"jitter":      func(c *probe.Config) { c.Jitter = 0.25 },
	} {
		changed := full()
		change(&changed)
		if a, b := newExactProber(t, base), newExactProber(t, changed); a.Same(b) || b.Same(a) {
			t.Errorf("another %s: want not the same", name)
		}
	}
	if p := newExactProber(t, base); p.Same(otherProber{}) || p.Same(nil) {
		t.Error("want not the same as a prober of another type")
	}
}

// newExactProber returns a prober without the short interval of newFastProber.
func newExactProber(t *testing.T, c probe.Config) *probe.Prober {
	t.Helper()
	p, err := probe.New(c, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestJitterSpreadsChecksAroundTheInterval(t *testing.T) {
	const interval = time.Second
	for _, c := range []struct {
		jitter   float64
		from, to time.Duration
	}{
		{0, 900 * time.Millisecond, 1100 * time.Millisecond}, // the default
		{0.5, 500 * time.Millisecond, 1500 * time.Millisecond},
		{1, 0, 2 * time.Second},
		{-1, time.Second, time.Second},
	} {
		p := newExactProber(t, probe.Config{Interval: interval, Jitter: c.jitter})
		shortest, longest := time.Hour, time.Duration(-1)
		for range 10_000 {
			d := p.NextCheckDelay()
			shortest, longest = min(shortest, d), max(longest, d)
		}
		if shortest < c.from || longest > c.to {
			t.Errorf("jitter %v: delays from %s to %s, want them within %s to %s", c.jitter, shortest, longest, c.from, c.to)
		}
		if spread, want := longest-shortest, c.to-c.from; spread < want*9/10 {
			t.Errorf("jitter %v: delays from %s to %s, want them to fill %s to %s", c.jitter, shortest, longest, c.from, c.to)
		}
	}
}
