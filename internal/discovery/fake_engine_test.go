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
	"github.com/theworklabs/edge/internal/discovery/sourcetest"
)

// fakeEngine is a Docker Engine with the requests that the source needs.
type fakeEngine struct {
	url string

	mu         sync.Mutex
	containers map[string]container.Summary
	streams    map[chan events.Message]struct{}
	history    []events.Message // all events, for streams with since
	down       bool
	since      []string
	listCount  int
	listGate   chan struct{} // if not nil, lists wait until it is closed
}

func newFakeEngine(t *testing.T) *fakeEngine {
	t.Helper()
	f := &fakeEngine{containers: make(map[string]container.Summary), streams: make(map[chan events.Message]struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(out http.ResponseWriter, _ *http.Request) { out.Header().Set("Api-Version", "1.41") })
	mux.HandleFunc("/v1.41/containers/json", f.serveList)
	mux.HandleFunc("/v1.41/events", f.serveEvents)
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if f.isDown() {
			panic(http.ErrAbortHandler)
		}
		mux.ServeHTTP(out, r)
	}))
	t.Cleanup(server.Close)
	f.url = "tcp://" + server.Listener.Addr().String()
	f.put("edge", "10.0.0.2", func(c *container.Summary) {
		c.Labels["com.docker.compose.service"] = "edge"
	})
	return f
}

func (f *fakeEngine) isDown() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down
}

func (f *fakeEngine) serveList(out http.ResponseWriter, r *http.Request) {
	var filters struct {
		ID map[string]bool `json:"id"`
	}
	if text := r.URL.Query().Get("filters"); text != "" {
		if err := json.Unmarshal([]byte(text), &filters); err != nil {
			http.Error(out, err.Error(), http.StatusBadRequest)
			return
		}
	}
	f.mu.Lock()
	gate := f.listGate
	f.mu.Unlock()
	if gate != nil {
		<-gate
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listCount++
	all := []container.Summary{}
	for id, c := range f.containers {
		if filters.ID == nil || filters.ID[id] {
			all = append(all, c)
		}
	}
	_ = json.NewEncoder(out).Encode(all)
}

func (f *fakeEngine) serveEvents(out http.ResponseWriter, r *http.Request) {
	stream := make(chan events.Message, 1000)
	f.mu.Lock()
	since := r.URL.Query().Get("since")
	f.since = append(f.since, since)
	for _, m := range f.history {
		if at := fmt.Sprintf("%d.%09d", m.TimeNano/1e9, m.TimeNano%1e9); since != "" && at >= since {
			stream <- m
		}
	}
	f.streams[stream] = struct{}{}
	f.mu.Unlock()
	out.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(out).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case m, open := <-stream:
			if !open {
				panic(http.ErrAbortHandler)
			}
			_ = json.NewEncoder(out).Encode(m)
			_ = http.NewResponseController(out).Flush()
		}
	}
}

// put adds or replaces a running container of service api in project p.
func (f *fakeEngine) put(id, addr string, change func(*container.Summary)) {
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
	f.mu.Lock()
	f.containers[id] = c
	f.mu.Unlock()
}

func (f *fakeEngine) remove(id string) {
	f.mu.Lock()
	delete(f.containers, id)
	f.mu.Unlock()
}

// emit sends an event about a container.
func (f *fakeEngine) emit(action events.Action, id string, attributes map[string]string) {
	m := events.Message{
		Type: events.ContainerEventType, Action: action,
		Actor: events.Actor{ID: id, Attributes: attributes}, TimeNano: time.Now().UnixNano(),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.history = append(f.history, m)
	for s := range f.streams {
		s <- m
	}
}

// emitAll sends events as one burst.
func (f *fakeEngine) emitAll(all ...events.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range all {
		all[i].TimeNano = time.Now().UnixNano()
		f.history = append(f.history, all[i])
	}
	for s := range f.streams {
		for _, m := range all {
			s <- m
		}
	}
}

func (f *fakeEngine) NewSource() discovery.Source {
	return discovery.Engine{DockerHost: f.url, Subnets: subnets}
}

func (f *fakeEngine) SetAddrs(addrs ...string) {
	f.mu.Lock()
	var old []string
	for id, c := range f.containers {
		if id != "edge" && !slices.Contains(addrs, c.NetworkSettings.Networks["net"].IPAddress.String()) {
			old = append(old, id)
		}
	}
	f.mu.Unlock()
	for _, id := range old {
		f.remove(id)
		f.emit(events.ActionDestroy, id, nil)
	}
	for _, addr := range addrs {
		f.put("c"+addr, addr, nil)
		f.emit(events.ActionStart, "c"+addr, nil)
	}
}

func (f *fakeEngine) StopAll() {
	f.put("c1", "", func(c *container.Summary) { c.State, c.Status = container.StateExited, "Exited (0) 1 second ago" })
	f.mu.Lock()
	var ids []string
	for id, c := range f.containers {
		if id != "edge" {
			c.State, c.Status, c.NetworkSettings = container.StateExited, "Exited (0) 1 second ago", nil
			f.containers[id] = c
			ids = append(ids, id)
		}
	}
	f.mu.Unlock()
	for _, id := range ids {
		f.emit(events.ActionDie, id, nil)
	}
}

func (f *fakeEngine) TellToStop(addr string) {
	f.emit(events.ActionKill, "c"+addr, map[string]string{"signal": "15"})
}

func (f *fakeEngine) CutOff(addr string) {
	f.put("c"+addr, "", nil)
	m := events.Message{
		Type: events.NetworkEventType, Action: events.ActionDisconnect,
		Actor: events.Actor{ID: "net", Attributes: map[string]string{"container": "c" + addr}},
	}
	f.emitAll(m)
}

func (f *fakeEngine) GoDown() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = true
	for s := range f.streams {
		close(s)
		delete(f.streams, s)
	}
}

func (f *fakeEngine) GoUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = false
}

func (*fakeEngine) IsStatic() bool { return false }

var _ sourcetest.Orchestrator = (*fakeEngine)(nil)
