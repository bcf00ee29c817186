package socketproxy_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// streamingEngine is a fake Docker Engine that streams the texts of send, and reports the end of each stream.
type streamingEngine struct {
	*fakeEngine
	send  chan string
	ended chan struct{}
}

func newStreamingEngine(t *testing.T) *streamingEngine {
	t.Helper()
	s := &streamingEngine{send: make(chan string), ended: make(chan struct{}, 10)}
	s.fakeEngine = newFakeEngine(t, func(w http.ResponseWriter, r *http.Request) {
		defer func() { s.ended <- struct{}{} }()
		w.Header().Set("Content-Type", "application/json")
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case <-r.Context().Done():
				return
			case text, open := <-s.send:
				if !open {
					return
				}
				_, _ = io.WriteString(w, text)
				_ = http.NewResponseController(w).Flush()
			}
		}
	})
	return s
}

// waitForStreamEnd waits until the proxy has closed the Engine's stream.
func (s *streamingEngine) waitForStreamEnd(t *testing.T) {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(testTimeout):
		t.Fatal("the Engine's stream is still open")
	}
}

// openEventStream opens an event stream through the proxy, and returns a reader of its lines.
func (s *proxyServer) openEventStream(ctx context.Context, query string) (*http.Response, *bufio.Reader) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	s.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.URL+"/v1.51/events"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.server.Client().Do(req)
	if err != nil {
		s.t.Fatalf("open the stream: %v", err)
	}
	s.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
		s.t.Fatalf("the stream has the status %d and the header %v", resp.StatusCode, resp.Header)
	}
	return resp, bufio.NewReader(resp.Body)
}

func TestClientEventFiltersAreReplaced(t *testing.T) {
	e := newFakeEngine(t, dockerHandler)
	s := newProxyServer(t, e.socket)
	for _, given := range []url.Values{
		nil,
		{"filters": {`{"type":["container"],"event":["exec_create","exec_start"]}`}},
		{"filters": {`{}`}},
		{"filters": {"", `{"event":["exec_create"]}`}, "type": {"image"}},
		{"Filters": {`{"event":["exec_create"]}`}},
		{"filters": {"no JSON"}},
	} {
		if got := s.get("/v1.51/events?" + given.Encode()); got.status != http.StatusOK {
			t.Fatalf("%v: %d %s", given, got.status, got.body)
		}
		query := e.onlyRequest(t).URL.Query()
		e.takeRequests()
		if len(query) != 1 || len(query["filters"]) != 1 {
			t.Fatalf("%v: the Engine got the query %v, want only filters", given, query)
		}
		var filters map[string][]string
		if err := json.Unmarshal([]byte(query.Get("filters")), &filters); err != nil {
			t.Fatal(err)
		}
		if len(filters) != 2 || !slices.Equal(filters["type"], []string{"container", "network"}) {
			t.Errorf("%v: the Engine got the filters %v, want the types container and network, and events", given, filters)
		}
		for _, needed := range []string{"start", "kill", "die", "destroy", "pause", "unpause", "health_status", "connect", "disconnect"} {
			if !slices.Contains(filters["event"], needed) {
				t.Errorf("%v: the filters lack the event %s, which discovery needs", given, needed)
			}
		}
		for _, event := range filters["event"] {
			if event == "" || strings.HasPrefix(event, "exec") || event == "attach" || event == "top" {
				t.Errorf("%v: the filters have the event %q", given, event)
			}
		}
	}
}

func TestEventStreamForwardsSinceAndUntil(t *testing.T) {
	e := newFakeEngine(t, dockerHandler)
	s := newProxyServer(t, e.socket)
	s.get("/v1.51/events?since=1700000000.000000001&until=1700000099&limit=3")
	query := e.onlyRequest(t).URL.Query()
	query.Del("filters")
	if want := (url.Values{"since": {"1700000000.000000001"}, "until": {"1700000099"}}); !reflect.DeepEqual(query, want) {
		t.Errorf("the Engine got the query %v, want %v", query, want)
	}
}

func TestEventsAreFlushedAtOnce(t *testing.T) {
	e := newStreamingEngine(t)
	_, lines := newProxyServer(t, e.socket).openEventStream(t.Context(), "") // the proxy sends the header before the first event
	for i := range 3 {
		id := fmt.Sprintf("c%d", i)
		e.send <- `{"Type":"container","Action":"start","Actor":{"ID":"` + id + `"}}` // without a newline, as some Docker Engines send it
		line, err := lines.ReadString('\n')
		if err != nil || !strings.Contains(line, id) {
			t.Fatalf("event %d: got %q %v", i, line, err)
		}
	}
	close(e.send)
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("after the end of the Engine's stream: %q %v, want the end", rest, err)
	}
}

func TestEventsAreStrippedToNeededFields(t *testing.T) {
	e := newStreamingEngine(t)
	_, lines := newProxyServer(t, e.socket).openEventStream(t.Context(), "")
	for _, c := range []struct{ sent, forwarded string }{
		{ // the attributes include the container's labels
			`{"status":"hunter2","id":"hunter2","from":"hunter2","Type":"container","Action":"kill","scope":"local","time":17,"timeNano":17000,
			  "Actor":{"ID":"3fc1","Attributes":{"signal":"15","name":"p-api-1","image":"api:1","token":"hunter2","execID":"hunter2",
			  "com.docker.compose.service":"api","com.docker.compose.project.environment_file":"/home/hunter2/.env",
			  "edge.stop_signals":"WINCH","desktop.docker.io/binds/0/Source":"/home/hunter2"},"Extra":"hunter2"},"Extra":{"a":"hunter2"}}`,
			`{"Type":"container","Action":"kill","scope":"local","time":17,"timeNano":17000,
			  "Actor":{"ID":"3fc1","Attributes":{"signal":"15","name":"p-api-1","image":"api:1","com.docker.compose.service":"api","edge.stop_signals":"WINCH"}}}`,
		},
		{
			`{"Type":"container","Action":"die","Actor":{"ID":"3fc1","Attributes":{"exitCode":"137","execDuration":"9","hunter2":"hunter2"}},"timeNano":18}`,
			`{"Type":"container","Action":"die","Actor":{"ID":"3fc1","Attributes":{"exitCode":"137"}},"timeNano":18}`,
		},
		{
			`{"Type":"container","Action":"health_status: unhealthy","Actor":{"ID":"3fc1","Attributes":{"token":"hunter2"}}}`,
			`{"Type":"container","Action":"health_status: unhealthy","Actor":{"ID":"3fc1","Attributes":{}}}`,
		},
		{
			`{"Type":"network","Action":"disconnect","Actor":{"ID":"n1","Attributes":{"container":"3fc1","name":"p_default","type":"bridge","token":"hunter2"}}}`,
			`{"Type":"network","Action":"disconnect","Actor":{"ID":"n1","Attributes":{"container":"3fc1","name":"p_default","type":"bridge"}}}`,
		},
	} {
		e.send <- c.sent
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(decodeJSON(t, line), decodeJSON(t, c.forwarded)) {
			t.Errorf("got %s\nwant %s", line, c.forwarded)
		}
	}
}

func TestUnrequestedEventsAreDropped(t *testing.T) {
	e := newStreamingEngine(t)
	_, lines := newProxyServer(t, e.socket).openEventStream(t.Context(), "")
	for _, sent := range []string{ // by a Docker Engine that ignores the filters
		`{"Type":"container","Action":"exec_create: sh -c 'login hunter2'","Actor":{"ID":"3fc1"}}`,
		`{"Type":"container","Action":"exec_start: sh -c 'login hunter2'","Actor":{"ID":"3fc1"}}`,
		`{"Type":"container","Action":"exec_die","Actor":{"ID":"3fc1"}}`,
		`{"Type":"container","Action":"top","Actor":{"ID":"3fc1"}}`,
		`{"Type":"container","Action":"","Actor":{"ID":"3fc1"}}`,
		`{"Type":"secret","Action":"create","Actor":{"ID":"hunter2"}}`,
		`{"Type":"volume","Action":"create","Actor":{"ID":"hunter2"}}`,
		`{}`,
	} {
		e.send <- sent
	}
	e.send <- `{"Type":"container","Action":"start","Actor":{"ID":"last"}}`
	if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, `"last"`) {
		t.Errorf("forwarded %q %v, want only the last event", line, err)
	}
}

func TestInvalidEventEndsTheStream(t *testing.T) {
	for _, garbage := range []string{"hunter2", `{"Type":"container","Action":5}`, `[]`, `"start"`, "\x00", strings.Repeat("[", 1<<16)} {
		t.Run(fmt.Sprintf("%.12q", garbage), func(t *testing.T) {
			e := newStreamingEngine(t)
			_, lines := newProxyServer(t, e.socket).openEventStream(t.Context(), "")
			e.send <- `{"Type":"container","Action":"start","Actor":{"ID":"3fc1"}}` + "\n" + garbage + "\n"
			rest, err := io.ReadAll(lines)
			if err != nil || strings.Count(string(rest), "\n") != 1 || !strings.Contains(string(rest), "3fc1") {
				t.Errorf("got %q %v, want one event and the end", rest, err)
			}
			e.waitForStreamEnd(t)
			waitForNoGoroutines(t)
		})
	}
}

func TestClientDisconnectEndsEngineStream(t *testing.T) {
	e := newStreamingEngine(t)
	ctx, disconnect := context.WithCancel(t.Context())
	_, lines := newProxyServer(t, e.socket).openEventStream(ctx, "")
	e.send <- `{"Type":"container","Action":"start","Actor":{"ID":"3fc1"}}`
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	disconnect()
	e.waitForStreamEnd(t)
	waitForNoGoroutines(t)
}

func TestClientDisconnectCancelsEngineRequest(t *testing.T) {
	for _, path := range []string{"/_ping", "/events", "/containers/json"} {
		t.Run(path, func(t *testing.T) {
			arrived, ended := make(chan struct{}, 1), make(chan struct{}, 1)
			e := newFakeEngine(t, func(_ http.ResponseWriter, r *http.Request) {
				arrived <- struct{}{}
				<-r.Context().Done()
				ended <- struct{}{}
			})
			s := newProxyServer(t, e.socket)
			conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: proxy\r\n\r\n", path); err != nil {
				t.Fatal(err)
			}
			<-arrived
			conn.Close()
			select {
			case <-ended:
			case <-time.After(testTimeout):
				t.Fatal("the request to the Engine still runs")
			}
			waitForNoGoroutines(t)
		})
	}
}
