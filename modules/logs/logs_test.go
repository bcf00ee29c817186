package logs

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/logging"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/theworklabs/edge/internal/testport"
)

// newLogger returns a logger that writes with an encoder of a Caddyfile, and what it writes.
func newLogger(t testing.TB, encoder zapcore.Encoder, text string) (*zap.Logger, *bytes.Buffer) {
	t.Helper()
	if err := encoder.(caddyfile.Unmarshaler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	if err := encoder.(caddy.Provisioner).Provision(ctx); err != nil {
		t.Fatal(err)
	}
	out := new(bytes.Buffer)
	return zap.New(zapcore.NewCore(encoder, zapcore.AddSync(out), zapcore.DebugLevel)), out
}

// secretRequest is a request that has a secret in each place that a log could show.
func secretRequest() *http.Request {
	r := httptest.NewRequest(http.MethodPost, "https://shop.example.com:8443/api/reset/s3cr3t-1234?sid=s3cr3t&page=2", nil)
	r.RequestURI, r.RemoteAddr, r.Host = "/api/reset/s3cr3t-1234?sid=s3cr3t&page=2", "192.0.2.1:4711", "shop.example.com:8443"
	for _, name := range []string{"Authorization", "Cookie", "X-Access-Token", "X-Unknown", "Proxy-Authorization"} {
		r.Header.Set(name, "s3cr3t")
	}
	r.Header.Set("User-Agent", "curl/8")
	r.Header.Set("Referer", "https://shop.example.com/a?token=s3cr3t")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Organization-Id", "7x1kq0c2")
	r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, NegotiatedProtocol: "h2", ServerName: "shop.example.com"}
	r.Proto = "HTTP/2.0"
	return r
}

// accessFields are those of an entry of Caddy's access log, with those of edge_proxy.
func accessFields() []zap.Field {
	return []zap.Field{
		zap.Int("bytes_read", 12), zap.String("user_id", "anna"), zap.Duration("duration", 1500*time.Microsecond), zap.Int("size", 34), zap.Int("status", 201),
		zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: http.Header{"Content-Type": {"text/html"}, "Location": {"/x?token=s3cr3t"}, "X-Token": {"s3cr3t"}}}),
		(&RequestFields{Service: "api:80", Endpoint: "172.18.0.7:80", RequestID: "id-1", Attempts: 2, Held: 500 * time.Microsecond, Upstream: 1250 * time.Microsecond}).Field(),
		zap.String("traceID", "4bf9"), zap.String("spanID", "00f0"), zap.String("uuid", "id-2"), zap.String("uri", "/y?token=s3cr3t"),
	}
}

func decode(t testing.TB, line []byte) (fields map[string]any) {
	t.Helper()
	if err := json.Unmarshal(line, &fields); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return fields
}

// TestNoSecretIsWritten, by any of the encoders, in an entry or in the context of its logger.
func TestNoSecretIsWritten(t *testing.T) {
	for text, encoder := range map[string]func() zapcore.Encoder{
		"redact {\n wrap json\n headers x-mine\n}": func() zapcore.Encoder { return new(RedactEncoder) },
		"redact": func() zapcore.Encoder { return new(RedactEncoder) },
		"ecs":    func() zapcore.Encoder { return new(ECSEncoder) },
		"limit {\n wrap redact {\n  wrap json\n }\n}":                                        func() zapcore.Encoder { return new(LimitEncoder) },
		"redact {\n wrap limit {\n  wrap console\n }\n}":                                     func() zapcore.Encoder { return new(RedactEncoder) },
		"redact {\n wrap filter {\n  size delete\n }\n}":                                     func() zapcore.Encoder { return new(RedactEncoder) },
		"redact {\n wrap append {\n  host edge-1\n }\n}\n":                                   func() zapcore.Encoder { return new(RedactEncoder) },
		"limit {\n interval 1m\n first 2\n wrap redact\n}":                                   func() zapcore.Encoder { return new(LimitEncoder) },
		"ecs {\n headers X-Mine X-Other\n headers x-third\n}":                                func() zapcore.Encoder { return new(ECSEncoder) },
		"filter {\n wrap redact\n size delete\n}":                                            func() zapcore.Encoder { return new(logging.FilterEncoder) },
		"filter {\n wrap ecs\n size delete\n}":                                               func() zapcore.Encoder { return new(logging.FilterEncoder) },
		"filter {\n wrap append {\n  wrap redact\n  a b\n }\n size delete\n}":                func() zapcore.Encoder { return new(logging.FilterEncoder) },
		"filter {\n wrap redact\n request>uri rename path\n request>headers rename h\n}":     func() zapcore.Encoder { return new(logging.FilterEncoder) },
		"filter {\n wrap filter {\n  wrap redact\n  request rename req\n }\n size delete\n}": func() zapcore.Encoder { return new(logging.FilterEncoder) },
		"limit {\n wrap filter {\n  wrap redact\n  size delete\n }\n}":                       func() zapcore.Encoder { return new(LimitEncoder) },
	} {
		log, out := newLogger(t, encoder(), text)
		request := zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: secretRequest(), ShouldLogCredentials: true})
		log.With(request).Info("handled request", accessFields()...)
		log.WithLazy(request).Error("failed", zap.String("err_trace", "here"))
		log.Info("handled request", append(accessFields(), request)...)
		log.With(zap.String("uri", "/?token=s3cr3t")).Warn("other")
		if got := out.String(); strings.Contains(got, "s3cr3t") || !strings.Contains(got, "REDACTED") || strings.Count(got, "\n") != 4 {
			t.Errorf("%s wrote\n%s", text, got)
		}
	}
}

func TestRedactKeepsTheRest(t *testing.T) {
	log, out := newLogger(t, new(RedactEncoder), "redact {\n headers x-unknown\n}")
	fields := accessFields()
	log.Info("handled request", append(fields, zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: secretRequest()}))...)
	if object, ok := fields[5].Interface.(caddyhttp.LoggableHTTPHeader); !ok || object.Header.Get("X-Token") == "" {
		t.Error("the caller's fields are changed")
	}
	got := decode(t, out.Bytes())
	request := got["request"].(map[string]any)
	if request["uri"] != "/api/reset/REDACTED?sid=REDACTED&page=2" || request["host"] != "shop.example.com:8443" || got["status"] != 201.0 || got["service"] != "api:80" {
		t.Errorf("got %v", got)
	}
	if h := fmt.Sprint(request["headers"]); h != "map[Content-Type:[application/json] Organization-Id:[7x1kq0c2] Referer:[https://shop.example.com/a?token=REDACTED] User-Agent:[curl/8] X-Unknown:[s3cr3t]]" {
		t.Errorf("the headers are %s", h)
	}
	if h := fmt.Sprint(got["resp_headers"]); h != "map[Content-Type:[text/html] Location:[/x?token=REDACTED]]" {
		t.Errorf("the headers of the response are %s", h)
	}
}

func TestECSFields(t *testing.T) {
	log, out := newLogger(t, new(ECSEncoder), "ecs")
	log = log.Named("http.log.access.log0").With(zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: secretRequest()}))
	log.Info("handled request", accessFields()...)
	want := map[string]any{
		"log.level": "info", "message": "handled request", "ecs.version": ECSVersion, "log.logger": "http.log.access.log0",
		"service.name": "edge", "service.type": "caddy",
		"event.kind": "event", "event.dataset": "edge.access", "event.category": []any{"web"}, "event.type": []any{"access"}, "event.outcome": "success", "event.duration": 1500000.0,
		"source.ip": "192.0.2.1", "source.port": 4711.0, "http.version": "2.0", "http.request.method": "POST", "http.request.body.bytes": 12.0,
		"http.response.status_code": 201.0, "http.response.body.bytes": 34.0, "http.request.id": "id-1", "caddy.request.headers.content-type": "application/json",
		"http.request.referrer": "https://shop.example.com/a?token=REDACTED", "caddy.resp_headers.content-type": "text/html",
		"url.domain": "shop.example.com", "url.port": 8443.0, "url.scheme": "https", "url.path": "/api/reset/REDACTED", "url.query": "sid=REDACTED&page=2",
		"url.original": "/api/reset/REDACTED?sid=REDACTED&page=2", "user_agent.original": "curl/8", "user.id": "anna",
		"service.target.name": "api:80", "destination.address": "172.18.0.7:80", "destination.ip": "172.18.0.7", "destination.port": 80.0,
		"trace.id": "4bf9", "span.id": "00f0", "tls.version": "1.3", "tls.version_protocol": "tls", "tls.cipher": "TLS_AES_128_GCM_SHA256", "tls.next_protocol": "h2",
		"tls.client.server_name": "shop.example.com", "tls.resumed": false,
		"edge.attempts": 2.0, "edge.held_ms": 0.5, "edge.upstream_ms": 1.25, "caddy.uuid": "id-2", "caddy.uri": "/y?token=REDACTED",
		"caddy.request.headers.organization-id": "7x1kq0c2",
	}
	if !bytes.HasPrefix(out.Bytes(), []byte(`{"@timestamp":"`)) {
		t.Errorf("the line does not begin with the time: %s", out)
	}
	got := decode(t, out.Bytes())
	if _, err := time.Parse(time.RFC3339, got["@timestamp"].(string)); err != nil {
		t.Error(err)
	}
	delete(got, "@timestamp")
	for name, value := range want {
		if fmt.Sprint(got[name]) != fmt.Sprint(value) {
			t.Errorf("%s is %v, want %v", name, got[name], value)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("further fields: %v", got)
	}
}

func TestECSHasErrorsAndWhatItDoesNotKnow(t *testing.T) {
	log, out := newLogger(t, new(ECSEncoder), "ecs")
	log.Named("edge").Error("it failed", zap.Error(fmt.Errorf("refused")), zap.Duration("duration", time.Second), zap.String("endpoint", "web/1"), zap.Duration("wait", 2*time.Second),
		zap.Float64("ratio", math.Inf(1)), zap.Strings("projects", []string{"a"}), zap.Namespace("more"), zap.Int("n", 1))
	got := decode(t, out.Bytes())
	for name, want := range map[string]any{
		"error.message": "refused", "event.duration": "1000000000", "destination.address": "web/1", "caddy.wait": "2", "event.dataset": "edge.log", "log.level": "error", "caddy.ratio": "+Inf", "caddy.more": "map[n:1]",
	} {
		if fmt.Sprint(got[name]) != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

// TestEntriesAboutAnEndpointNameItsAddress, and the URL of a request that was lost.
func TestEntriesAboutAnEndpointNameItsAddress(t *testing.T) {
	log, out := newLogger(t, new(ECSEncoder), "ecs")
	log.Named("edge").Info("endpoint is ready", zap.String("endpoint", "shop/web/1"), zap.String("address", "172.18.0.7:80"), zap.String("method", "GET"), zap.String("uri", "/a"))
	got := decode(t, out.Bytes())
	for name, want := range map[string]any{
		"destination.address": "172.18.0.7:80", "destination.ip": "172.18.0.7", "caddy.endpoint": "shop/web/1", "url.original": "/a", "http.request.method": "GET", "caddy.uri": nil,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	d := make(document)
	for host, want := range map[string]string{"[fd00::1]:8443": "[fd00::1]", "[fd00::1]": "[fd00::1]", "a.example:80": "a.example"} {
		addURL(d, host, "/", false)
		if d["url.domain"] != want {
			t.Errorf("%s: the domain is %v", host, d["url.domain"])
		}
	}
}

// TestRepeatedErrorsAreLimited: each kind by itself. Information is never dropped.
func TestRepeatedErrorsAreLimited(t *testing.T) {
	encoder := new(LimitEncoder)
	log, out := newLogger(t, encoder, "limit {\n interval 1h\n first 3\n wrap json\n}")
	lines := func() (n int) {
		n = strings.Count(out.String(), "\n")
		out.Reset()
		return n
	}
	api, web := log.Named("http.log.error"), log.Named("http.log.error").With(zap.String("service", "web:80"))
	for i := range 10 {
		api.Error(fmt.Sprintf("api:80: GET /%d: refused", i), zap.String("err_trace", "fail (failure.go:150)"))
		web.Warn("not answered")
		log.Warn("not answered", zap.String("service", "db:80"))
		log.Info("handled request")
	}
	if got := lines(); got != 3+3+3+10 {
		t.Errorf("%d lines, want 19", got)
	}
	api.Error("web:80: GET /: refused", zap.String("err_trace", "fail (failure.go:150)"))
	api.Error("api:80: GET /: refused", zap.String("err_trace", "refuse (failure.go:170)"))
	if got := lines(); got != 2 {
		t.Errorf("%d lines of other kinds, want 2", got)
	}
	encoder.interval = time.Nanosecond
	time.Sleep(time.Millisecond)
	web.Warn("not answered")
	if got := out.String(); !strings.Contains(got, `"suppressed":7`) {
		t.Errorf("wrote %s", got)
	}
	out.Reset()
	web.Warn("not answered")
	if strings.Contains(out.String(), "suppressed") {
		t.Errorf("wrote %s", out)
	}
	for i := range 2 * maxKinds {
		log.Warn(fmt.Sprint("kind ", i))
	}
	if n := len(encoder.kinds); n > maxKinds {
		t.Errorf("%d kinds are kept", n)
	}
	if got := lines(); got < 2*maxKinds {
		t.Errorf("%d lines of %d kinds", got, 2*maxKinds)
	}
}

func TestErrorsOfTheCaddyfile(t *testing.T) {
	for text, want := range map[string]string{
		"redact x": "wrong argument count", "redact {\n other\n}": `unknown option "other"`, "redact {\n headers\n}": "wrong argument count", "redact {\n wrap\n}": "wrong argument count",
		"redact {\n wrap nosuch\n}": "module not registered", "ecs {\n wrap json\n}": `unknown option "wrap"`,
		"limit {\n interval x\n}": `interval "x": want a positive duration`, "limit {\n interval\n}": "wrong argument count", "limit {\n first 0\n}": "want a number above 0", "limit {\n first\n}": "wrong argument count",
	} {
		name, _, _ := strings.Cut(text, " ")
		module, err := caddy.GetModule("caddy.logging.encoders." + name)
		if err != nil {
			t.Fatal(err)
		}
		err = module.New().(caddyfile.Unmarshaler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// TestTheEncodersWorkInCaddy: in a site and in the global options, through a reload.
func TestTheEncodersWorkInCaddy(t *testing.T) {
	dir := t.TempDir()
	text := fmt.Sprintf(`{
	admin off
	persist_config off
	storage file_system %[1]s
	http_port 0
	log {
		output file %[1]s/default.log
		format limit {
			wrap redact
		}
	}
}
http://127.0.0.1:%[2]s {
	log {
		output file %[1]s/access.log
		format ecs
	}
	route /fail* {
		error "no" 500
	}
	respond "hello"
}
`, dir, testport.Port(t))
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	_, rest, _ := strings.Cut(text, "http://")
	address, _, _ := strings.Cut(rest, " ")
	for range 2 {
		if err := caddy.Load(config, true); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			resp, err := http.Get("http://" + address + "/fail?token=s3cr3t")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
	}
	access, err := os.ReadFile(filepath.Join(dir, "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(access, []byte(`"url.query":"token=REDACTED"`)); n != 40 {
		t.Errorf("%d lines of the access log, want 40:\n%.500s", n, access)
	}
	errors, err := os.ReadFile(filepath.Join(dir, "default.log"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(errors, []byte("token=REDACTED")); n < 10 || n > 20 {
		t.Errorf("%d errors are logged, want the first 10, or those of both configurations:\n%s", n, errors)
	}
	if bytes.Contains(errors, []byte("s3cr3t")) {
		t.Errorf("a secret is logged:\n%s", errors)
	}
}

// BenchmarkEncoders compares the encoders with Caddy's own in one run.
func BenchmarkEncoders(b *testing.B) {
	module, err := caddy.GetModule("caddy.logging.encoders.json")
	if err != nil {
		b.Fatal(err)
	}
	for name, encoder := range map[string]zapcore.Encoder{"json": module.New().(zapcore.Encoder), "redact": new(RedactEncoder), "ecs": new(ECSEncoder)} {
		log, out := newLogger(b, encoder, name)
		request := secretRequest()
		request.Header.Set("Sec-Ch-Ua", `"Chromium";v="130", "Not?A_Brand";v="99"`)
		fields := append(accessFields(), zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: request}))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				log.Info("handled request", fields...)
				out.Reset()
			}
		})
	}
}

// TestNoSecretIsInObjects, whatever their names: Caddy has none with a request now.
func TestNoSecretIsInObjects(t *testing.T) {
	outer := zapcore.ObjectMarshalerFunc(func(to zapcore.ObjectEncoder) error {
		to.AddString("uri", "/?token=s3cr3t")
		return errors.Join(to.AddObject("request", caddyhttp.LoggableHTTPRequest{Request: secretRequest(), ShouldLogCredentials: true}),
			to.AddObject("push_headers", caddyhttp.LoggableHTTPHeader{Header: secretRequest().Header, ShouldLogCredentials: true}))
	})
	for text, encoder := range map[string]zapcore.Encoder{
		"redact": new(RedactEncoder), "ecs": new(ECSEncoder), "filter {\n wrap redact\n size delete\n}": new(logging.FilterEncoder),
	} {
		log, out := newLogger(t, encoder, text)
		log.Info("m", zap.Object("outer", outer))
		log.With(zap.Object("outer", outer)).Info("m")
		if got := out.String(); strings.Contains(got, "s3cr3t") || !strings.Contains(got, "curl/8") {
			t.Errorf("%s wrote\n%s", text, got)
		}
	}
}

// TestReplacedHeadersAreWritten: what Caddy's encoder `filter` has put in the place of a header.
func TestReplacedHeadersAreWritten(t *testing.T) {
	log, out := newLogger(t, new(logging.FilterEncoder), "filter {\n wrap redact\n request>headers>User-Agent replace GONE\n request>headers>X-Unknown replace s3cr3t\n}")
	log.Info("m", zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: secretRequest()}))
	if got := out.String(); !strings.Contains(got, `"User-Agent":["GONE"]`) || strings.Contains(got, "s3cr3t") {
		t.Errorf("wrote %s", got)
	}
}

// TestDurationsAreCaddys, also those in objects of ECS.
func TestDurationsAreCaddys(t *testing.T) {
	log, out := newLogger(t, new(ECSEncoder), "ecs")
	log.Info("m", zap.Duration("wait", 1947779410), zap.Object("o", zapcore.ObjectMarshalerFunc(func(to zapcore.ObjectEncoder) error {
		to.AddDuration("d", 1947779410)
		return nil
	})))
	if got := decode(t, out.Bytes()); got["caddy.wait"] != 1.94777941 || fmt.Sprint(got["caddy.o"]) != "map[d:1.94777941]" {
		t.Errorf("wrote %s", out)
	}
}
