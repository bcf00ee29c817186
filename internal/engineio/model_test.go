package engineio_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/engineio"
)

// model is a table in its simplest form: each operation visits every session.
type model struct {
	limit    int
	sessions map[string]*modelEntry
}

type modelEntry struct {
	endpoint          string
	lastUsed, expires time.Time
	lifetime          time.Duration
}

func (m *model) learn(sid, endpoint string, lifetime time.Duration) {
	now := time.Now()
	if m.sessions[sid] == nil && len(m.sessions) == m.limit {
		oldest := ""
		for sid, e := range m.sessions {
			if oldest == "" || e.lastUsed.Before(m.sessions[oldest].lastUsed) {
				oldest = sid
			}
		}
		delete(m.sessions, oldest)
	}
	m.sessions[sid] = &modelEntry{endpoint, now, now.Add(lifetime), lifetime}
}

func (m *model) lookup(sid string) string {
	e := m.sessions[sid]
	if e == nil || !time.Now().Before(e.expires) {
		delete(m.sessions, sid)
		return ""
	}
	e.lastUsed, e.expires = time.Now(), time.Now().Add(e.lifetime)
	return e.endpoint
}

// TestTableMatchesItsModel runs a long sequence of random operations. Sessions expire only with the limit that they can't
// reach, because a table and its model may remove expired sessions at different times.
func TestTableMatchesItsModel(t *testing.T) {
	for _, limit := range []int{30, 1000} {
		t.Run(fmt.Sprint("limit=", limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(1, uint64(limit)))
				m := &model{limit, make(map[string]*modelEntry)}
				table := engineio.NewTable(limit)
				lifetimes := []time.Duration{time.Hour, 90 * time.Minute} // longer than the test with the smaller limit
				if limit > 100 {
					lifetimes = []time.Duration{4 * time.Second, 64 * time.Second, 1024 * time.Second}
				}
				known := 0
				for range 20_000 {
					time.Sleep(time.Duration(random.IntN(int(100 * time.Millisecond))))
					sid := fmt.Sprint(random.IntN(100))
					switch random.IntN(5) {
					case 0:
						lifetime := lifetimes[random.IntN(len(lifetimes))]
						endpoint := fmt.Sprint("endpoint ", random.IntN(3))
						table.Learn(serviceName, sid, endpoint, lifetime)
						m.learn(sid, endpoint, lifetime)
					case 1:
						if random.IntN(10) == 0 {
							table.Forget(serviceName, sid)
							delete(m.sessions, sid)
						}
					default:
						want := m.lookup(sid)
						wantEndpoint(t, table, serviceName, sid, want)
						if want != "" {
							known++
						}
					}
					if n := table.Len(); n > limit {
						t.Fatalf("got %d sessions, want at most %d", n, limit)
					}
				}
				if known < 1000 {
					t.Errorf("only %d lookups found a session, want at least 1000", known)
				}
			})
		})
	}
}
