package deploy

import (
	"context"
	"errors"
	"slices"
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
		"unknown before":               {[2]uint32{0, 0}, [2]uint32{100, 30}, false, nil},
		"most had failed before":       {[2]uint32{100, 60}, [2]uint32{100, 70}, false, nil},
		"most had failed, now all":     {[2]uint32{100, 60}, [2]uint32{100, 100}, false, ErrUndone},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFakeHost(t)
				h.push(webRepository+":2", 2)
				start := time.Now().Truncate(traffic.HistoryInterval)
				h.points = func() map[string][]traffic.Point {
					n := int(time.Since(start) / traffic.HistoryInterval)
					return map[string][]traffic.Point{
						"web:80":   append(history(start.Add(-5*time.Minute), 60, c.before[0], c.before[1]), history(start, n, c.after[0], c.after[1])...),
						"web:8080": history(start.Add(-5*time.Minute), 60+n, 1000, 0), // its many good requests do not hide the bad ones
					}
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
				switch last := h.events[len(h.events)-1]; {
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
					h.expectRunning("web", imageID(1), "shop/web:edge-000000000001")
					if last.Result != Rollback || took > 15*time.Second {
						t.Errorf("the edge was notified of %+v, after %v", last, took)
					}
				}
			})
		})
	}
}

// TestWhatCannotBeWatchedIsSaid, and fails no deployment: the edge may be an older one, or have no route to the service.
func TestWhatCannotBeWatchedIsSaid(t *testing.T) {
	for want, points := range map[string]func() map[string][]traffic.Point{
		"those of the version before are not known": nil,
		"the edge has no route to web":              func() map[string][]traffic.Point { return nil },
	} {
		h := newFakeHost(t)
		h.points = points
		h.push(webRepository+":2", 2)
		d := h.deploy("web", webRepository+":2")
		d.WatchTime = MinWatchTime
		if err := d.Run(t.Context()); err != nil || !strings.Contains(h.out.String(), "warning: the errors are not watched") || !strings.Contains(h.out.String(), want) {
			t.Errorf("%v, printed %s", err, h.out.String())
		}
	}
	h := newFakeHost(t)
	d := h.deploy("web", webRepository+":2")
	d.WatchTime = time.Second
	if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "less than 15s") {
		t.Errorf("the error is %v", err)
	}
}

// watchBad deploys web:2, which fails all requests from its rollout on; the rollout number failAt fails.
func watchBad(t *testing.T, failAt int, ctx func(h *fakeHost) context.Context) (*fakeHost, error) {
	t.Helper()
	h := newFakeHost(t)
	h.failAt = failAt
	h.push(webRepository+":2", 2)
	start := time.Now().Truncate(traffic.HistoryInterval)
	h.points = func() map[string][]traffic.Point {
		return map[string][]traffic.Point{"web:80": history(start, int(time.Since(start)/traffic.HistoryInterval), 100, 100)}
	}
	d := h.deploy("web", webRepository+":2")
	d.WatchTime = time.Minute
	return h, d.Run(ctx(h))
}

// TestAFailedUndoOfABadVersionIsReported: the bad version serves.
func TestAFailedUndoOfABadVersionIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := watchBad(t, 2, func(*fakeHost) context.Context { return t.Context() })
		if !errors.Is(err, ErrNotUndone) || !strings.Contains(err.Error(), "does not become ready") || !strings.Contains(err.Error(), "100 of 100 requests failed") {
			t.Errorf("the error is %v", err)
		}
		h.expectRunning("web", imageID(2), webRepository+":2@"+imageID(2))
		if last := h.events[len(h.events)-1]; last.Result != Bad {
			t.Errorf("the edge was notified of %+v", last)
		}
		if got := h.results("web"); !slices.Equal(got, []Result{Bad, Failed}) {
			t.Errorf("the results are %v", got)
		}
		h.mustUndo("web")
		h.expectRunning("web", imageID(1), "shop/web:edge-000000000001")
	})
}

// TestOnlyTheDeploymentThatIsWatchedIsUndone: the same image is deployed again, and errors rise for another reason.
func TestOnlyTheDeploymentThatIsWatchedIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost(t)
		h.push(webRepository+":2", 2)
		h.mustDeploy("web", webRepository+":2")
		time.Sleep(time.Hour)
		start := time.Now().Truncate(traffic.HistoryInterval)
		h.points = func() map[string][]traffic.Point {
			return map[string][]traffic.Point{"web:80": history(start, int(time.Since(start)/traffic.HistoryInterval), 100, 100)}
		}
		d := h.deploy("web", webRepository+":2")
		d.WatchTime = time.Minute
		if err := d.Run(t.Context()); !errors.Is(err, ErrNotUndone) || !strings.Contains(err.Error(), "the same image ran before") {
			t.Errorf("the error is %v", err)
		}
		h.expectRunning("web", imageID(2), webRepository+":2@"+imageID(2))
	})
}

// TestAnInterruptWhileWatchingLeavesTheNewVersion.
func TestAnInterruptWhileWatchingLeavesTheNewVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		h, err := watchBad(t, 0, func(*fakeHost) context.Context { time.AfterFunc(time.Second, cancel); return ctx })
		if err != nil || !strings.Contains(h.out.String(), "no longer watched") {
			t.Errorf("%v, printed %s", err, h.out.String())
		}
		h.expectRunning("web", imageID(2), webRepository+":2@"+imageID(2))
	})
}

// TestTheBaselineBeginsWithTheLastDeployment: the version before that was another one.
func TestTheBaselineBeginsWithTheLastDeployment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost(t)
		h.push(webRepository+":2", 2)
		h.push(webRepository+":3", 3)
		start := time.Now()
		h.points = func() map[string][]traffic.Point {
			return map[string][]traffic.Point{"web:80": append(history(start, 24, 100, 90), history(start.Add(2*time.Minute), 200, 100, 5)...)}
		}
		time.Sleep(2 * time.Minute)
		h.mustDeploy("web", webRepository+":2")
		time.Sleep(time.Minute)
		d := h.deploy("web", webRepository+":3")
		d.WatchTime = MinWatchTime
		if err := d.Run(t.Context()); err != nil || !strings.Contains(h.out.String(), "before: web:80: 60 of 1200 requests failed") {
			t.Errorf("%v, printed %s", err, h.out.String())
		}
	})
}
