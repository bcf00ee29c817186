package maintenance_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/maintenance"
)

// serviceNames returns the services of windows, in their order.
func serviceNames(windows []*maintenance.Window) string {
	var all []string
	for _, c := range windows {
		all = append(all, c.Service)
	}
	return strings.Join(all, " ")
}

func TestSnapshotIsImmutable(t *testing.T) {
	var none *maintenance.Snapshot
	one := none.With(newWindow("b:80"))
	two := one.With(newWindow("a:80"))
	if serviceNames(none.Windows()) != "" || serviceNames(one.Windows()) != "b:80" || serviceNames(two.Windows()) != "a:80 b:80" {
		t.Errorf("%v %v %v", none.Windows(), one.Windows(), two.Windows())
	}
	if left := two.Without("b:80", "c:80"); serviceNames(left.Windows()) != "a:80" || serviceNames(two.Windows()) != "a:80 b:80" {
		t.Errorf("%v of %v", left.Windows(), two.Windows())
	}
	if none.Window("b:80") != nil || two.Window("c:80") != nil || two.Window("b:80") != one.Window("b:80") {
		t.Error("With does not return the window that was added")
	}
}

func TestReplacedWindowKeepsItsStart(t *testing.T) {
	snapshot := new(maintenance.Snapshot).With(newWindow("a:80"))
	snapshot = snapshot.With(newWindow("a:80", func(c *maintenance.Window) { c.Since, c.Hold = time.Now(), true }))
	if c := snapshot.With(newWindow("a:80,a2:80", func(c *maintenance.Window) { c.Since = time.Now() })).Window("a:80,a2:80"); !c.Since.Equal(time.Unix(1e9, 0)) {
		t.Errorf("a service that has got one more name is in maintenance since %s", c.Since)
	}
	if c := snapshot.Window("a:80"); !c.Hold || !c.Since.Equal(time.Unix(1e9, 0)) {
		t.Errorf("%+v", c)
	}
}

func TestSnapshotSurvivesJSONRoundTrip(t *testing.T) {
	allow, err := maintenance.ParseAllowed([]string{"10.0.0.0/8", "::1"})
	if err != nil {
		t.Fatal(err)
	}
	snapshot := new(maintenance.Snapshot).With(newWindow("b:80"), newWindow("a:80", func(c *maintenance.Window) {
		c.Hold, c.Allow, c.Message = true, allow, "<b>"
	}))
	text, err := json.Marshal(snapshot)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"services":[` +
		`{"service":"a:80","since":"2001-09-09T01:46:40Z","hold":true,"allow":["10.0.0.0/8","::1/128"],"retry_after":"1m0s","message":"\u003cb\u003e"},` +
		`{"service":"b:80","since":"2001-09-09T01:46:40Z","retry_after":"1m0s"}]}`
	if string(text) != want {
		t.Errorf("wrote\n%s, want\n%s", text, want)
	}
	read := new(maintenance.Snapshot)
	if err := json.Unmarshal(text, read); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(read)
	if err != nil || string(again) != want {
		t.Errorf("%v %s", err, again)
	}
	if empty, err := json.Marshal(new(maintenance.Snapshot)); err != nil || string(empty) != `{"services":[]}` {
		t.Errorf("%v %s", err, empty)
	}
}

func TestInvalidSnapshotIsRejected(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                    "unexpected end",
		`[]`:                   "cannot unmarshal",
		`{"services": [null]}`: "an empty maintenance window",
		`{"services": [{}]}`:   "names no service",
		`{"services": [{"service": "a:80", "retry_after": "soon"}]}`:                                         "want a duration such as 5m",
		`{"services": [{"service": "a:80"}]}`:                                                                `service "a:80": retry_after 0s`,
		`{"services": [{"service": "a:80", "retry_after": "5m"}, {"service": "a:80", "retry_after": "5m"}]}`: "listed twice",
		`{"services": [{"service": "a:80", "retry_after": "5m", "allow": ["x"]}]}`:                           "ParsePrefix",
	} {
		snapshot := new(maintenance.Snapshot).With(newWindow("kept:80"))
		if err := json.Unmarshal([]byte(text), snapshot); err == nil || !strings.Contains(err.Error(), want) || serviceNames(snapshot.Windows()) != "kept:80" {
			t.Errorf("%s: %v, %v", text, err, snapshot.Windows())
		}
	}
}

// FuzzMaintenanceSnapshot: the storage may hold anything. A snapshot that can be read has valid windows only, and survives a round trip.
func FuzzMaintenanceSnapshot(f *testing.F) {
	f.Add([]byte(`{"services":[{"service":"a:80","since":"2001-09-09T01:46:40Z","hold":true,"allow":["10.0.0.0/8"],"retry_after":"1m0s","message":"x"}]}`))
	f.Add([]byte(`{"services":[{"service":"a:80","retry_after":"5m"},{"service":"b:80","retry_after":"1h","allow":[""]}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		snapshot := new(maintenance.Snapshot)
		if json.Unmarshal(text, snapshot) != nil {
			return
		}
		for _, c := range snapshot.Windows() {
			if err := c.Check(); err != nil || c.Done() == nil || snapshot.Window(c.Service) != c {
				t.Errorf("%v of %+v", err, c)
			}
		}
		written, err := json.Marshal(snapshot)
		if err != nil {
			return // Go reads years that RFC 3339 does not have, and does not write them
		}
		again := new(maintenance.Snapshot)
		if err := json.Unmarshal(written, again); err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if rewritten, err := json.Marshal(again); err != nil || !reflect.DeepEqual(written, rewritten) {
			t.Errorf("%s became %s %v", written, rewritten, err)
		}
	})
}

// TestMaintenanceGoesOnWhenAServiceGetsAnotherName: a route that names one more container, or one less, does not open its service.
func TestMaintenanceGoesOnWhenAServiceGetsAnotherName(t *testing.T) {
	for _, c := range []struct{ inMaintenance, service string }{
		{"api:80", "api:80,api-2:80"},
		{"api:80,api-2:80", "api:80"},
		{"api:80,api-2:80", "api-2:80,api-3:80"},
	} {
		snapshot := new(maintenance.Snapshot).With(maintenance.Window{Service: c.inMaintenance, RetryAfter: maintenance.Duration(time.Minute)})
		text, err := json.Marshal(snapshot)
		if err != nil {
			t.Fatal(err)
		}
		stored := new(maintenance.Snapshot)
		if err := json.Unmarshal(text, stored); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*maintenance.Snapshot{snapshot, stored} {
			if w := s.Window(c.service); w == nil || w.Service != c.inMaintenance {
				t.Errorf("%s in maintenance: the window of %s is %v", c.inMaintenance, c.service, w)
			}
			if s.Window("web:80") != nil || s.Without(c.inMaintenance).Window(c.service) != nil {
				t.Errorf("%s in maintenance: another service has a window, or the end leaves one", c.inMaintenance)
			}
		}
	}
}
