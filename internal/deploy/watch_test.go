package deploy

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/traffic"
)

// TestABadVersionIsUndone, if no migration of another image has run with it.
func TestABadVersionIsUndone(t *testing.T) {
	for name, c := range map[string]struct {
		before, after [2]uint32 // requests and errors in five seconds
		migrates      bool
		want          error
	}{
		"no errors":                    {[2]uint32{100, 0}, [2]uint32{100, 0}, false, nil},
		"as many errors":               {[2]uint32{100, 5}, [2]uint32{100, 6}, false, nil},
		"fewer than ten errors":        {[2]uint32{100, 0}, [2]uint32{1, 0}, false, nil},
		"a tenth":                      {[2]uint32{100, 0}, [2]uint32{100, 10}, false, ErrUndone},
		"all":                          {[2]uint32{100, 1}, [2]uint32{100, 100}, false, ErrUndone},
		"all, after a migration":       {[2]uint32{100, 1}, [2]uint32{100, 100}, true, ErrNotUndone},
		"no errors, after a migration": {[2]uint32{100, 0}, [2]uint32{100, 0}, true, nil},
		"it had no requests":           {[2]uint32{0, 0}, [2]uint32{20, 20}, false, ErrUndone},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFakeHost(t)
				h.push(webRepository+":2", 2)
				start := time.Now().Truncate(traffic.HistoryInterval)
				h.points = func() []traffic.Point {
					n := int(time.Since(start) / traffic.HistoryInterval)
					return append(history(start.Add(-5*time.Minute), 60, c.before[0], c.before[1]), history(start, n, c.after[0], c.after[1])...)
				}
				images := []string{"web", webRepository + ":2"}
				if c.migrates {
					h.push("registry.example.com/shop/migration:2", 12)
					images = append([]string{"migration", "registry.example.com/shop/migration:2"}, images...)
				}
				d := h.deploy(images...)
				d.WatchTime = 3 * time.Minute
				err := d.Run(t.Context())
				if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
					t.Fatalf("the error is %v, want %v\n%s", err, c.want, h.out.String())
				}
				took := time.Since(start)
				switch last := h.marks[len(h.marks)-1]; {
				case c.want == nil:
					h.expectRunning("web", imageID(2), webRepository+":2@"+imageID(2))
					if took < d.WatchTime {
						t.Errorf("it was watched for %v", took)
					}
				case c.migrates:
					h.expectRunning("web", imageID(2), webRepository+":2@"+imageID(2))
					if last.Result != Bad {
						t.Errorf("the edge was notified of %+v", last)
					}
				default:
					h.expectRunning("web", imageID(1), "shop/web:edge-000000000000")
					if last.Result != Rollback || took > 15*time.Second {
						t.Errorf("the edge was notified of %+v, after %v", last, took)
					}
				}
			})
		})
	}
}

// TestAnEdgeThatCannotSayDoesNotFailADeployment: it may be an older one.
func TestAnEdgeThatCannotSayDoesNotFailADeployment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost(t)
		h.push(webRepository+":2", 2)
		d := h.deploy("web", webRepository+":2")
		d.WatchTime = 10 * time.Second
		if err := d.Run(t.Context()); err != nil || !strings.Contains(h.out.String(), "warning: ") {
			t.Errorf("%v, printed %s", err, h.out.String())
		}
	})
}
