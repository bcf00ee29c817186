// Package collector sends the edge's traces to a real OpenTelemetry collector. The collector takes a minute to build, so that `make test` does
// not run this package: `make collector` does. modules/proxy has the same with a receiver of its own.
package collector

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

// collectorVariable has tests run that need the collector.
const collectorVariable = "EDGE_TEST_COLLECTOR"

func TestMain(m *testing.M) {
	if os.Getenv(collectorVariable) == "" {
		fmt.Println("tests/collector: not run; `make collector` builds an OpenTelemetry collector and runs it, in 2 minutes")
		return
	}
	harness.Main(m, harness.Suite{Dir: "tests/collector"})
}

// startCollector starts a collector that prints what it gets, on a port.
func startCollector(t *testing.T, port string) *harness.Process {
	t.Helper()
	config := filepath.Join(t.TempDir(), "collector.yaml")
	err := os.WriteFile(config, []byte(`receivers:
  otlp:
    protocols:
      http:
        endpoint: 127.0.0.1:`+port+`
exporters:
  debug:
    verbosity: detailed
service:
  telemetry:
    metrics:
      level: none
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [debug]
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	p := harness.StartProcess(t, exec.Command(harness.Tool(t, "otelcol"), "--config", config))
	p.WaitForLog(t, 30*time.Second, "Everything is ready")
	return p
}

func reservePort(t *testing.T) string {
	t.Helper()
	port, err := testport.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func get(t *testing.T, url, traceparent string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Traceparent", traceparent)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
}

// TestACollectorGetsTheTraces: the spans of a request arrive with their resource and parents; and when the collector stops reading, or is
// gone, no request waits, and the lost spans are counted.
func TestACollectorGetsTheTraces(t *testing.T) {
	var traceparent string
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { traceparent = r.Header.Get("Traceparent") }))
	defer backend.Close()
	otlp, port := reservePort(t), reservePort(t)
	collector := startCollector(t, otlp)
	edge := harness.StartEdge(t, fmt.Sprintf(`{
	admin off
	persist_config off
	metrics
	edge {
		static app:80 %s
	}
}
http://localhost:%s {
	handle /metrics {
		metrics
	}
	handle {
		tracing {
			span site
		}
		edge_proxy app:80
	}
}
`, backend.Listener.Addr(), port),
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:"+otlp, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_SERVICE_NAME=edge",
		"OTEL_RESOURCE_ATTRIBUTES=service.namespace=infrastructure", "OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_BSP_EXPORT_TIMEOUT=500", "OTEL_BSP_MAX_QUEUE_SIZE=20", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=10")
	url := "http://localhost:" + port
	harness.EventuallyWithin(t, 30*time.Second, "the edge serves", func() bool {
		resp, err := http.Get(url)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	get(t, url, "00-"+trace+"-00f067aa0ba902b7-01")
	harness.EventuallyWithin(t, 10*time.Second, "the collector has the trace", func() bool {
		out := collector.Output()
		return strings.Contains(out, trace) && strings.Contains(out, "Name           : attempt") && strings.Contains(out, "Name           : site")
	})
	for _, want := range []string{"service.name: Str(edge)", "service.namespace: Str(infrastructure)", "service.instance.id: Str(", "edge.service: Str(app:80)", "00f067aa0ba902b7", "http.response.status_code: Int(200)"} {
		if !strings.Contains(collector.Output(), want) {
			t.Errorf("the collector has printed no %q", want)
		}
	}
	if !strings.Contains(traceparent, trace) {
		t.Errorf("the application got the traceparent %q", traceparent)
	}

	sendHundred := func(when string) {
		t.Helper()
		start := time.Now()
		for i := range 100 {
			get(t, url, fmt.Sprintf("00-%032x-00f067aa0ba902b7-01", i+1))
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s, 100 requests take %s", when, took)
		}
	}
	if err := collector.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	sendHundred("while the collector does not read")
	if err := collector.Stop(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	sendHundred("while there is no collector")
	harness.EventuallyWithin(t, 10*time.Second, "the lost spans are counted", func() bool {
		resp, err := http.Get(url + "/metrics")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return err == nil && lost(string(text))
	})
	if err := edge.Stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// lost reports whether the metrics count spans that were not exported.
func lost(metrics string) bool {
	for line := range strings.SplitSeq(metrics, "\n") {
		for _, outcome := range []string{"failed", "dropped"} {
			if value, found := strings.CutPrefix(line, `edge_trace_spans_total{outcome="`+outcome+`"} `); found && value != "0" {
				return true
			}
		}
	}
	return false
}
