package closes

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// TestPOSTsAroundTheEndOfAConnection sends POSTs at about the time at which a server ends the connection that was used last, until it has ended
// EDGE_TEST_CLOSES of them, with both kinds of reuse.
func TestPOSTsAroundTheEndOfAConnection(t *testing.T) {
	for _, k := range kinds {
		for _, reuse := range []string{"repeatable", "all"} {
			t.Run(k.name+", reuse "+reuse, func(t *testing.T) {
				closes := harness.Count(t, "EDGE_TEST_CLOSES", 100)
				s := k.start(t)
				l := newLoad(s, startEdge(t, s, reuse))
				l.run(t, func() bool { return s.count() >= closes+workers })
				l.check(t)
				if reuse == "repeatable" && len(l.unknown) > 0 {
					t.Errorf("%d outcomes are unknown, want none", len(l.unknown))
				}
			})
		}
	}
}

// TestPOSTsWhileTheServerIsKilled kills a server EDGE_TEST_KILLS times while clients send POSTs without a pause. Only a POST that was on its way
// during a kill may have an unknown outcome. A client can have several of those in one kill: the kernel closes the connections and listeners of the
// process one after another, and a listener that is still open accepts the client's next POST.
func TestPOSTsWhileTheServerIsKilled(t *testing.T) {
	for _, reuse := range []string{"repeatable", "all"} {
		t.Run("reuse "+reuse, func(t *testing.T) {
			kills := harness.Count(t, "EDGE_TEST_KILLS", 10)
			s := kinds[0].start(t)
			l := newLoad(s, startEdge(t, s, reuse))
			l.hasNoPause = true
			var isOver atomic.Bool
			var ended sync.WaitGroup
			ended.Go(func() { l.run(t, isOver.Load) })
			stop := func() {
				isOver.Store(true)
				ended.Wait()
			}
			defer stop() // also if the server does not start again
			var times []span
			for range kills {
				time.Sleep(rand.N(60 * time.Millisecond))
				start := time.Now()
				s.kill(t)
				times = append(times, span{start, time.Now()})
				s.run(t)
			}
			stop()
			l.check(t)
			for id, sent := range l.unknown {
				if !slices.ContainsFunc(times, sent.overlaps) {
					t.Errorf("the outcome of POST %s is unknown, but the server was not killed while it was on its way", id)
				}
			}
		})
	}
}

// span is the time from the start to the end of something.
type span struct{ start, end time.Time }

func (s span) overlaps(other span) bool {
	return !s.start.After(other.end) && !other.start.After(s.end)
}

// load is the POSTs to a server.
type load struct {
	*server
	url        string
	hasNoPause bool
	next       atomic.Int64 // numbers the requests

	mu        sync.Mutex
	responses []string        // IDs of requests with a response of the server
	unknown   map[string]span // when requests with an unknown outcome were on their way, by their IDs
}

func newLoad(s *server, url string) *load {
	return &load{server: s, url: url, unknown: make(map[string]span)}
}

// run sends requests until isOver returns true, for at most half an hour.
func (l *load) run(t *testing.T, isOver func() bool) {
	end := time.Now().Add(30 * time.Minute)
	var ended sync.WaitGroup
	for i := range workers {
		ended.Go(func() {
			wait := newWait()
			for !isOver() && time.Now().Before(end) {
				id := fmt.Sprint(l.next.Add(1))
				if err := l.post(i, id); err != nil {
					t.Errorf("POST %s: %v", id, err)
					return
				}
				if l.hasNoPause {
					continue
				}
				time.Sleep(wait.time)
				seen, err := l.get(id)
				if err != nil {
					t.Error(err)
					return
				}
				wait.adjust(seen.isReused)
			}
		})
	}
	ended.Wait()
}

// post sends a request, and notes its outcome.
func (l *load) post(worker int, id string) error {
	start := time.Now()
	resp, err := client.Post(fmt.Sprintf("%s/%d?id=%s", l.url, worker, id), "text/plain", strings.NewReader(strings.Repeat("x", 60)))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch resp.StatusCode {
	case http.StatusOK, http.StatusNoContent:
		l.responses = append(l.responses, id)
	case http.StatusBadGateway:
		l.unknown[id] = span{start, time.Now()}
	default:
		return fmt.Errorf("status %d: %.200s", resp.StatusCode, text)
	}
	return nil
}

var client = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 2 * workers}}

// check compares what the clients saw with what the server did, and logs the counts.
func (l *load) check(t *testing.T) {
	t.Helper()
	for _, id := range l.responses { // nginx and Apache note a request after they have responded to it
		harness.Eventually(t, "POST "+id+" with a response is noted", func() bool {
			seen, err := l.get(id)
			return err == nil && seen.times > 0
		})
	}
	carriedOut := 0
	for id := range l.unknown {
		if l.entries[id].times > 0 {
			carriedOut++
		}
	}
	for id, seen := range l.entries {
		if seen.times > 1 {
			t.Errorf("POST %s was carried out %d times", id, seen.times)
		}
	}
	t.Logf("%d POSTs on %d connections; %d unknown outcomes, %d of which were carried out", len(l.responses)+len(l.unknown), l.count(), len(l.unknown), carriedOut)
}

// wait finds the time at which a server ends an idle connection: it waits for longer if the connection was still used, and else for less.
type wait struct {
	time      time.Duration // before the next request
	step      time.Duration
	wasReused bool
}

func newWait() *wait { return &wait{time: idle, step: 4 * time.Millisecond} }

func (w *wait) adjust(isReused bool) {
	if isReused != w.wasReused {
		w.step = max(w.step/2, 200*time.Microsecond)
	}
	w.wasReused = isReused
	step := rand.N(2 * w.step) // so that it does not wait for the same two times for ever
	if isReused {
		w.time += step
	} else {
		w.time = max(w.time-step, idle/2)
	}
}
