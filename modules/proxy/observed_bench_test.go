package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"

	_ "github.com/theworklabs/edge/modules/logs"
	_ "github.com/theworklabs/edge/modules/statuspage"
)

// BenchmarkObserved measures what a request pays for being seen: metrics that are read each second and an open status page (figures), the shipped access log beside
// them, without secrets and through a queue (on), the same in the Elastic Common Schema, as the overlay has it (ecs), with four more logs, as if each site had its own (logs),
// Caddy's own instead (json), and an encoder that writes nothing, which no other can be cheaper than (nothing). One that is discarded is never encoded: what is left is what Caddy does for any access log (discard). Each is compared with a site that has
// none of it (off). The numbers include the client and the backend, so only their ratios are meaningful.
func BenchmarkObserved(b *testing.B) {
	body := strings.Repeat("x", 1024)
	a := newBackend(b, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }).start(b)
	const routes = "handle /metrics {\n %s\n}\nhandle_path /status* {\n %s\n}\nhandle {\n edge_proxy api:80\n}\n"
	none, figures := fmt.Sprintf(routes, "respond 404", "respond 404"), fmt.Sprintf(routes, "metrics", "edge_status")
	const queue = " output queue {\n  wrap null\n }\n"
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	const redacted = " {\n" + queue + " format redact\n}"
	const defaultLog = queue + " format limit {\n  wrap redact\n }\n"
	var moreLogs strings.Builder
	for i := range 4 {
		fmt.Fprintf(&moreLogs, "log other%d%s\n", i, strings.Replace(redacted, "{", fmt.Sprintf("{\n include http.log.access.other%d", i), 1))
	}
	for _, variant := range []struct{ name, directives, defaultLog, globalOptions string }{
		{name: "off", directives: none},
		{name: "figures", directives: figures},
		{name: "discard", directives: figures + "log {\n output discard\n}", defaultLog: " output discard\n"},
		{name: "json", directives: figures + "log {\n output null\n format json\n}", defaultLog: " output null\n format json\n"},
		{name: "on", directives: figures + "log" + redacted, defaultLog: defaultLog},
		{name: "ecs", directives: strings.ReplaceAll(figures+"log"+redacted, "redact", "ecs"), defaultLog: strings.ReplaceAll(defaultLog, "redact", "ecs")},
		{name: "nothing", directives: figures + "log {\n output null\n format nothing\n}", defaultLog: " output null\n format nothing\n"},
		{name: "logs", directives: figures + "log" + redacted, defaultLog: defaultLog, globalOptions: moreLogs.String()},
	} {
		b.Run(variant.name, func(b *testing.B) {
			s := &site{static: map[string][]string{"api:80": {a.address}}, logOptions: variant.defaultLog, globalOptions: variant.globalOptions}
			s.start(b, variant.directives)
			s.eventuallyResponds(b, "/", "xxx")
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			go readEvents(ctx, s.url+"/status/events")
			go readMetrics(ctx, s.url+"/metrics")
			b.ReportAllocs()
			b.SetParallelism(8)
			before := processorTime(b)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					exchange(b, client, http.MethodGet, s.url+"/")
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// processorTime returns the processor time of the process: on a busy machine, it differs less from run to run than the time that passes.
func processorTime(tb testing.TB) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func init() {
	caddy.RegisterModule(nullWriter{})
	caddy.RegisterModule(nothingEncoder{})
}

// nothingEncoder writes nothing, and takes no memory for a request.
type nothingEncoder struct{ zapcore.Encoder }

// CaddyModule returns the Caddy module information.
func (nothingEncoder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.encoders.nothing", New: func() caddy.Module { return new(nothingEncoder) }}
}

// UnmarshalCaddyfile implements [caddyfile.Unmarshaler].
func (*nothingEncoder) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

// Clone implements [zapcore.Encoder].
func (e *nothingEncoder) Clone() zapcore.Encoder { return e }

// AddObject implements [zapcore.Encoder]. Caddy adds nothing else to the context of a request's logger.
func (*nothingEncoder) AddObject(string, zapcore.ObjectMarshaler) error { return nil }

// AddString implements [zapcore.Encoder].
func (*nothingEncoder) AddString(string, string) {}

// EncodeEntry implements [zapcore.Encoder].
func (*nothingEncoder) EncodeEntry(zapcore.Entry, []zapcore.Field) (*buffer.Buffer, error) {
	return nothing.Get(), nil
}

var nothing = buffer.NewPool()

// nullWriter writes to /dev/null. Of a log with the output discard, Caddy encodes nothing.
type nullWriter struct{ caddy.StderrWriter }

// CaddyModule returns the Caddy module information.
func (nullWriter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.writers.null", New: func() caddy.Module { return new(nullWriter) }}
}

// UnmarshalCaddyfile implements [caddyfile.Unmarshaler].
func (*nullWriter) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

// WriterKey implements [caddy.WriterOpener].
func (nullWriter) WriterKey() string { return "null" }

// OpenWriter implements [caddy.WriterOpener].
func (nullWriter) OpenWriter() (io.WriteCloser, error) {
	return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
}

// readEvents reads the stream of a status page until ctx ends.
func readEvents(ctx context.Context, url string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
	}
}

// readMetrics reads the metrics each second until ctx ends.
func readMetrics(ctx context.Context, url string) {
	for ticker := time.NewTicker(time.Second); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if resp, err := http.Get(url); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
}

// ofTheEdge is how many series there are at most that are of no service.
const ofTheEdge = 40

// TestSeriesAreBounded: how many series of the edge's own a Prometheus has to keep, for 3 and for 300 services, whatever clients send.
func TestSeriesAreBounded(t *testing.T) {
	for _, services := range []int{3, 300} {
		a := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
			var status int
			if _, err := fmt.Sscanf(r.URL.Path[strings.LastIndex(r.URL.Path, "/"):], "/%d", &status); err == nil {
				w.WriteHeader(status)
			}
		}).start(t)
		s := &site{static: make(map[string][]string), globalOptions: "\tmetrics"}
		var routes strings.Builder
		for i := range services {
			name := fmt.Sprintf("s%d:80", i)
			s.static[name] = []string{a.address}
			fmt.Fprintf(&routes, "handle /s%d/* {\n edge_proxy %s\n}\n", i, name)
		}
		s.start(t, "handle /metrics {\n metrics\n}\n"+routes.String())
		eventually(t, func() bool {
			status, _, _ := s.send(t, http.MethodGet, fmt.Sprintf("/s%d/", services-1), nil)
			return status == http.StatusOK
		}, "the last service is ready")
		before := len(s.metrics(t))
		for i := range services {
			for _, method := range []string{"GET", "PUT", "POST", "BREW" + fmt.Sprint(i)} {
				for _, status := range []int{200, 302, 404, 500} {
					s.send(t, method, fmt.Sprintf("/s%d/%d", i, status), nil)
				}
			}
		}
		var after int
		eventually(t, func() bool {
			after = len(s.metrics(t))
			return after > before
		}, "the requests are counted")
		if after > ofTheEdge+170*services {
			t.Errorf("%d services have %d series", services, after)
		}
		families := make(map[string]int)
		for series := range s.metrics(t) {
			name, _, _ := strings.Cut(series, "{")
			families[strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")]++
		}
		for _, name := range slices.Sorted(maps.Keys(families)) {
			t.Logf("%d services: | `%s` | %d |", services, name, families[name])
		}
		t.Logf("%d services: %d series before their first requests, %d after requests with every method and status", services, before, after)
		stopCaddy(t)
	}
}
