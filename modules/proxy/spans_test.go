package proxy_test

import (
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"
)

// span is a span as the receiver got it.
type span struct {
	Trace, ID, Parent, Name string
	Attributes              map[string]string
	Failed                  bool
	Duration                time.Duration
}

// receiver is a receiver of OTLP over HTTP.
type receiver struct {
	mu       sync.Mutex
	spans    []span
	resource map[string]string
}

// newReceiver starts a receiver, and lets the edges of the test send their spans to it.
func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := new(receiver)
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	traceTo(t, server.URL)
	return r
}

func traceTo(t *testing.T, endpoint string) {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	var export tracepb.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &export); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range export.GetResourceSpans() {
		r.resource = attributes(resource.GetResource().GetAttributes())
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				r.spans = append(r.spans, span{
					Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()), Name: s.GetName(),
					Attributes: attributes(s.GetAttributes()), Failed: s.GetStatus().GetCode() == 2, Duration: time.Duration(s.GetEndTimeUnixNano() - s.GetStartTimeUnixNano()),
				})
			}
		}
	}
}

func attributes(list []*commonpb.KeyValue) map[string]string {
	m := make(map[string]string, len(list))
	for _, a := range list {
		switch v := a.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			m[a.GetKey()] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			m[a.GetKey()] = fmt.Sprint(v.IntValue)
		case *commonpb.AnyValue_DoubleValue:
			m[a.GetKey()] = fmt.Sprint(v.DoubleValue)
		}
	}
	return m
}

// await waits until a trace has spans of these names, and returns its spans by name, in the order of their ends.
func (r *receiver) await(t *testing.T, trace string, names ...string) map[string][]span {
	t.Helper()
	var found map[string][]span
	eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		found = make(map[string][]span)
		for _, s := range r.spans {
			if s.Trace == trace {
				found[s.Name] = append(found[s.Name], s)
			}
		}
		return !slices.ContainsFunc(names, func(name string) bool { return len(found[name]) == 0 })
	}, fmt.Sprintf("the trace has spans %q", names))
	return found
}

const (
	clientTrace  = "0af7651916cd43dd8448eb211c80319c"
	clientParent = "00-" + clientTrace + "-b7ad6b7169203331-01"
)

// getTraced sends a request that is part of the client's trace.
func (s *site) getTraced(t *testing.T, path string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Traceparent", clientParent)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// TestATraceShowsHoldAndAttempts: the request was held, its first attempt failed, and the application's parent is the second one.
func TestATraceShowsHoldAndAttempts(t *testing.T) {
	r := newReceiver(t)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=infrastructure")
	parents := make(chan string, 10)
	a := newBackend(t, func(w http.ResponseWriter, req *http.Request) {
		parents <- req.Header.Get("Traceparent")
		if len(parents) == 1 {
			panic(http.ErrAbortHandler) // sent, and not answered
		}
		fmt.Fprint(w, req.Header.Get("Traceparent"))
	})
	s := serve(t, map[string][]string{"api:80": {a.address}}, "tracing {\n span site\n}\nedge_proxy api:80")
	done := make(chan string, 1)
	go func() {
		_, body := s.getTraced(t, "/")
		done <- body
	}()
	eventuallyHeld(t, 1)
	a.start(t)
	parent := <-done
	spans := r.await(t, clientTrace, "site", "hold", "attempt")
	root, attempts := spans["site"][0], spans["attempt"]
	if len(attempts) != 2 || len(spans["hold"]) != 1 || spans["hold"][0].Parent != root.ID || root.Parent != "b7ad6b7169203331" {
		t.Fatalf("the trace is %+v", spans)
	}
	first, second := attempts[0], attempts[1]
	if before := <-parents; parent != "00-"+clientTrace+"-"+second.ID+"-01" || before != "00-"+clientTrace+"-"+first.ID+"-01" {
		t.Errorf("the application got the parents %q and %q, the attempts are %s and %s", before, parent, first.ID, second.ID)
	}
	if !first.Failed || first.Attributes["error.type"] != "no_response" || first.Attributes["http.request.resend_count"] != "" {
		t.Errorf("the first attempt is %+v", first)
	}
	host, port, _ := net.SplitHostPort(a.address)
	for key, want := range map[string]string{
		"edge.service": "api:80", "edge.endpoint": a.address, "server.address": host, "server.port": port,
		"http.request.method": "GET", "http.response.status_code": "200", "http.request.resend_count": "1", "error.type": "",
	} {
		if second.Attributes[key] != want {
			t.Errorf("the second attempt has %s %q, want %q", key, second.Attributes[key], want)
		}
	}
	if root.Failed || root.Attributes["edge.attempts"] != "2" || root.Attributes["edge.service"] != "api:80" || root.Attributes["edge.held_ms"] == "0" {
		t.Errorf("the request's span is %+v", root)
	}
	if r.resource["service.namespace"] != "infrastructure" {
		t.Errorf("the resource is %v", r.resource)
	}
}

// TestNoSpanHasASecretOfTheURL: Caddy's own span has the path.
func TestNoSpanHasASecretOfTheURL(t *testing.T) {
	r := newReceiver(t)
	const secret = "Zx9tQ4vLm2Rk8Wp1"
	for i, route := range []string{"edge_proxy api:80", "edge_proxy api:80", "handle_path /reset-password/* {\n edge_proxy api:80\n}"} {
		broken := i == 1
		a := newBackend(t, func(http.ResponseWriter, *http.Request) {
			if broken {
				panic(http.ErrAbortHandler)
			}
		}).start(t)
		s := serveReady(t, "tracing {\n span site\n}\nroute {\n"+route+"\n}", a.address)
		s.getTraced(t, "/reset-password/"+secret+"?token="+secret)
	}
	spans := r.await(t, clientTrace, "site", "attempt")
	eventually(t, func() bool { spans = r.await(t, clientTrace, "site"); return len(spans["site"]) == 3 }, "three requests")
	for name, all := range spans {
		for _, s := range all {
			if text := fmt.Sprint(s); strings.Contains(text, secret) {
				t.Errorf("the span %s has the secret: %s", name, text)
			}
			if name == "site" && !strings.HasPrefix(s.Attributes["url.path"], "/reset-password/") {
				t.Errorf("its path is %q", s.Attributes["url.path"])
			}
		}
	}
}

// TestPrometheusGetsExemplarsAndNativeBuckets, in the formats that have them.
func TestPrometheusGetsExemplarsAndNativeBuckets(t *testing.T) {
	newReceiver(t)
	a := newBackend(t, echo("ok")).start(t)
	s := &site{static: map[string][]string{"api:80": {a.address}}, globalOptions: "\tmetrics"}
	s.start(t, "handle /metrics {\n metrics\n}\nhandle {\n tracing\n edge_proxy api:80\n}")
	eventually(t, func() bool { status, _ := s.getTraced(t, "/"); return status == http.StatusOK }, "the endpoint is ready")
	scrape := func(format expfmt.Format) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", string(format))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	eventually(t, func() bool {
		return strings.Contains(scrape(expfmt.NewFormat(expfmt.TypeOpenMetrics)), `# {trace_id="`+clientTrace+`"}`)
	}, "a bucket has the request's trace as its exemplar")
	decoder := expfmt.NewDecoder(strings.NewReader(scrape(expfmt.NewFormat(expfmt.TypeProtoDelim))), expfmt.NewFormat(expfmt.TypeProtoDelim))
	for {
		var family dto.MetricFamily
		if err := decoder.Decode(&family); err != nil {
			t.Fatalf("no durations with native buckets: %v", err)
		}
		if family.GetName() == "edge_request_duration_seconds" && len(family.GetMetric()[0].GetHistogram().GetPositiveSpan()) > 0 {
			return
		}
	}
}

// TestAnAttemptLastsAsLongAsItsResponse.
func TestAnAttemptLastsAsLongAsItsResponse(t *testing.T) {
	r := newReceiver(t)
	a := newBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "begin")
		_ = http.NewResponseController(w).Flush()
		time.Sleep(100 * time.Millisecond)
		fmt.Fprint(w, " end")
	}).start(t)
	s := serveReady(t, "tracing\nedge_proxy api:80", a.address)
	if status, body := s.getTraced(t, "/"); status != http.StatusOK || body != "begin end" {
		t.Fatalf("the response is %d %q", status, body)
	}
	if attempt := r.await(t, clientTrace, "attempt")["attempt"][0]; attempt.Duration < 100*time.Millisecond {
		t.Errorf("the attempt is %+v", attempt)
	}
}

// TestAnAttemptFailsIfItsResponseBreaksOff: the client has got a status of 200, and a part of the body.
func TestAnAttemptFailsIfItsResponseBreaksOff(t *testing.T) {
	r := newReceiver(t)
	a := newBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "begin")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}).start(t)
	s := serveReady(t, "tracing\nedge_proxy api:80", a.address)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Traceparent", clientParent)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil || string(body) != "begin" {
		t.Errorf("the body is %q, %v", body, err)
	}
	if attempt := r.await(t, clientTrace, "attempt")["attempt"][0]; !attempt.Failed || attempt.Attributes["http.response.status_code"] != "200" || attempt.Attributes["error.type"] == "" {
		t.Errorf("the attempt is %+v", attempt)
	}
}

// TestATraceShowsTheTunnel of a WebSocket: what it carried, and who closed it.
func TestATraceShowsTheTunnel(t *testing.T) {
	r := newReceiver(t)
	a := newWebSocketEcho(t)
	s := serveReady(t, "tracing {\n span site\n}\nedge_proxy api:80", a.address)
	conn, _, err := websocket.Dial(t.Context(), strings.Replace(s.url, "http", "ws", 1), &websocket.DialOptions{HTTPHeader: http.Header{"Traceparent": {clientParent}}})
	if err != nil {
		t.Fatal(err)
	}
	wantEcho(t, conn)
	s.load(t, "tracing {\n span site\n}\nedge_proxy api:80") // the socket and its span survive it
	wantEcho(t, conn)
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	spans := r.await(t, clientTrace, "site", "attempt", "tunnel")
	tunnel := spans["tunnel"][0]
	if tunnel.Parent != spans["site"][0].ID || tunnel.Attributes["edge.tunnel.closed_by"] != "client" || tunnel.Attributes["edge.tunnel.close_reason"] != "close frame" ||
		tunnel.Attributes["edge.tunnel.bytes_from_client"] == "0" || tunnel.Attributes["network.protocol.name"] != "websocket" {
		t.Errorf("the tunnel's span is %+v", tunnel)
	}
	if attempt := spans["attempt"][0]; attempt.Attributes["http.response.status_code"] != "101" || attempt.Failed {
		t.Errorf("the attempt is %+v", attempt)
	}
}

// TestNoRequestWaitsForAReceiver of traces that accepts connections and answers nothing. What is lost is counted.
func TestNoRequestWaitsForAReceiver(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	traceTo(t, "http://"+silent.Addr().String())
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")
	t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", "500")
	a := newBackend(t, echo("a")).start(t)
	s := &site{static: map[string][]string{"api:80": {a.address}}, globalOptions: "\tmetrics"}
	s.start(t, "handle /metrics {\n metrics\n}\nhandle {\n tracing\n edge_proxy api:80\n}")
	s.eventuallyResponds(t, "/", "a GET")
	start := time.Now()
	for range 100 {
		if status, _ := s.getTraced(t, "/"); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("100 requests took %v", took)
	}
	eventually(t, func() bool {
		m := s.metrics(t)
		return m[`edge_trace_spans_total{outcome="dropped"}`] > "0" && m[`edge_trace_spans_total{outcome="failed"}`] > "0"
	}, "the lost spans are counted")
	start = time.Now()
	stopCaddy(t)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the edge took %v to stop", took)
	}
}
