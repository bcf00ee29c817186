package discovery_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"

	"github.com/theworklabs/edge/internal/discovery"
)

// fakeEngine is a Docker Engine, as far as the source may see of one.
type fakeEngine struct {
	url string

	mu         sync.Mutex
	containers map[string]container.Summary
	streams    map[chan events.Message]struct{}
	history    []events.Message
	down       bool
	since      []string
	listCount  int
	listGate   chan struct{} // lists wait for it to be closed
}

func newFakeEngine(t *testing.T) *fakeEngine {
	t.Helper()
	w := &fakeEngine{containers: make(map[string]container.Summary), streams: make(map[chan events.Message]struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(out http.ResponseWriter, _ *http.Request) { out.Header().Set("Api-Version", "1.41") })
	mux.HandleFunc("/v1.41/containers/json", w.serveList)
	mux.HandleFunc("/v1.41/events", w.serveEvents)
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if w.isDown() {
			panic(http.ErrAbortHandler)
		}
		mux.ServeHTTP(out, r)
	}))
	t.Cleanup(server.Close)
	w.url = "tcp://" + server.Listener.Addr().String()
	w.put("edge", "10.0.0.2", func(c *container.Summary) {
		c.Labels["com.docker.compose.service"] = "edge"
	})
	return w
}

func (w *fakeEngine) isDown() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.down
}

func (w *fakeEngine) serveList(out http.ResponseWriter, r *http.Request) {
	var filters struct {
		ID map[string]bool `json:"id"`
	}
	if text := r.URL.Query().Get("filters"); text != "" {
		if err := json.Unmarshal([]byte(text), &filters); err != nil {
			http.Error(out, err.Error(), http.StatusBadRequest)
			return
		}
	}
	w.mu.Lock()
	hold := w.listGate
	w.mu.Unlock()
	if hold != nil {
		<-hold
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listCount++
	all := []container.Summary{}
	for id, c := range w.containers {
		if filters.ID == nil || filters.ID[id] {
			all = append(all, c)
		}
	}
	_ = json.NewEncoder(out).Encode(all)
}

func (w *fakeEngine) serveEvents(out http.ResponseWriter, r *http.Request) {
	mine := make(chan events.Message, 1000)
	w.mu.Lock()
	since := r.URL.Query().Get("since")
	w.since = append(w.since, since)
	for _, m := range w.history {
		if at := fmt.Sprintf("%d.%09d", m.TimeNano/1e9, m.TimeNano%1e9); since != "" && at >= since {
			mine <- m
		}
	}
	w.streams[mine] = struct{}{}
	w.mu.Unlock()
	out.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(out).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case m, open := <-mine:
			if !open {
				panic(http.ErrAbortHandler)
			}
			_ = json.NewEncoder(out).Encode(m)
			_ = http.NewResponseController(out).Flush()
		}
	}
}

// put makes or changes a running container of project p, service api.
func (w *fakeEngine) put(id, addr string, change func(*container.Summary)) {
	c := container.Summary{
		ID: id, Names: []string{"/p-api-" + id}, State: container.StateRunning, Status: "Up 1 second",
		Labels: map[string]string{
			"com.docker.compose.project": "p", "com.docker.compose.service": "api",
			"com.docker.compose.container-number": "1", "com.docker.compose.oneoff": "False",
		},
		NetworkSettings: &container.NetworkSettingsSummary{Networks: map[string]*network.EndpointSettings{"net": {}}},
	}
	if addr != "" {
		c.NetworkSettings.Networks["net"].IPAddress = netip.MustParseAddr(addr)
	}
	if change != nil {
		change(&c)
	}
	w.mu.Lock()
	w.containers[id] = c
	w.mu.Unlock()
}

func (w *fakeEngine) remove(id string) {
	w.mu.Lock()
	delete(w.containers, id)
	w.mu.Unlock()
}

// emit sends an event about a container, now.
func (w *fakeEngine) emit(action events.Action, id string, attributes map[string]string) {
	m := events.Message{
		Type: events.ContainerEventType, Action: action,
		Actor: events.Actor{ID: id, Attributes: attributes}, TimeNano: time.Now().UnixNano(),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history = append(w.history, m)
	for s := range w.streams {
		s <- m
	}
}

// emitAll sends events so that they arrive as one burst.
func (w *fakeEngine) emitAll(all ...events.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range all {
		all[i].TimeNano = time.Now().UnixNano()
		w.history = append(w.history, all[i])
	}
	for s := range w.streams {
		for _, m := range all {
			s <- m
		}
	}
}

func (w *fakeEngine) newSource() discovery.Source {
	return discovery.Engine{DockerHost: w.url, Subnets: subnets}
}

func (w *fakeEngine) setAddrs(addrs ...string) {
	w.mu.Lock()
	var old []string
	for id, c := range w.containers {
		if id != "edge" && !slices.Contains(addrs, c.NetworkSettings.Networks["net"].IPAddress.String()) {
			old = append(old, id)
		}
	}
	w.mu.Unlock()
	for _, id := range old {
		w.remove(id)
		w.emit(events.ActionDestroy, id, nil)
	}
	for _, addr := range addrs {
		w.put("c"+addr, addr, nil)
		w.emit(events.ActionStart, "c"+addr, nil)
	}
}

func (w *fakeEngine) goDown() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	for s := range w.streams {
		close(s)
		delete(w.streams, s)
	}
}

func (w *fakeEngine) goUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = false
}

func (*fakeEngine) isStatic() bool { return false }
