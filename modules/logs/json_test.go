package logs

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/logging"
	"go.uber.org/zap"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"

	"github.com/theworklabs/edge/internal/testport"
)

// bothLines returns an entry as [jsonLine] writes it, and as Caddy's encoder does; the first is nil if the entry is not one for [jsonLine].
func bothLines(t testing.TB, headers []string, entry zapcore.Entry, fields []zap.Field) (fast, slow map[string]any) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	caddys := new(logging.JSONEncoder)
	if err := caddys.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	f := newFilter(headers)
	read := func(line *buffer.Buffer) (object map[string]any) {
		if n := strings.Count(line.String(), "\n"); n != 1 || !strings.HasSuffix(line.String(), "\n") {
			t.Errorf("%d ends of lines: %q", n, line)
		}
		if err := json.Unmarshal(line.Bytes(), &object); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		return object
	}
	if line := encoded.Get(); (jsonLine{line, f}).add(entry, fields) {
		fast = read(line)
	}
	clean := append([]zap.Field(nil), fields...)
	f.clean(clean)
	line, err := caddys.EncodeEntry(entry, clean)
	if err != nil {
		t.Fatal(err)
	}
	return fast, read(line)
}

// bothDocuments returns an entry as [ecsLine] writes it, and as [document] does; the first is nil if the entry is not one for [ecsLine].
func bothDocuments(t testing.TB, headers []string, entry zapcore.Entry, fields []zap.Field) (fast, slow map[string]any) {
	t.Helper()
	e := &ECSEncoder{filter: newFilter(headers)}
	if line := encoded.Get(); (&ecsLine{jsonLine: jsonLine{line, e.filter}}).add(entry, fields) {
		fast = decode(t, line.Bytes())
	}
	line, err := e.document(encoded.Get(), entry, slices.Clone(fields))
	if err != nil {
		t.Fatal(err)
	}
	return fast, decode(t, line.Bytes())
}

// requests are requests with what a log can show of them.
func requests() map[string]*http.Request {
	plain := httptest.NewRequest(http.MethodGet, "/", nil)
	plain.Header = nil
	odd := httptest.NewRequest("BREW", "/", nil)
	odd.RemoteAddr, odd.Host, odd.RequestURI = "@", "a\"b\\c\x00\xff\u2028", "/<\t\r\n\b\f\x1f\x7fé€😀?q=\"<>&"
	odd.Header = http.Header{"User-Agent": {}, "Accept": nil, "Via": {"a", "", "b\n"}, "X-Mine": {"s\\"}, "Authorization": {"Basic x"}, "Cookie": {"a=b"}, "Referer": {"https://a:b@example.com/"}}
	odd.TransferEncoding = []string{"chunked", "gzip"}
	client := secretRequest()
	client.TLS = &tls.ConnectionState{DidResume: true, ECHAccepted: true, PeerCertificates: []*x509.Certificate{{Subject: pkix.Name{CommonName: `"anna"`}, SerialNumber: big.NewInt(1 << 60)}}}
	known := httptest.NewRequest(http.MethodGet, "/x", nil)
	known.TransferEncoding = []string{}
	known = known.WithContext(caddyhttp.PrepareRequest(known, caddy.NewReplacer(), nil, nil).Context())
	caddyhttp.SetVar(known.Context(), caddyhttp.ClientIPVarKey, "2001:db8::1")
	return map[string]*http.Request{"plain": plain, "odd": odd, "with secrets": secretRequest(), "of a client with a certificate": client, "of a known client": known}
}

// TestLinesAreCaddys: whatever the request, both ways to write it agree.
func TestLinesAreCaddys(t *testing.T) {
	request := &RequestFields{Service: "api:80", Endpoint: "172.18.0.7:80", RequestID: `"id"`, Attempts: 2, Held: 1234567 * time.Nanosecond, Upstream: time.Hour}
	for name, r := range requests() {
		for _, mayLog := range []bool{false, true} {
			fields := append(accessFields(), zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r, ShouldLogCredentials: mayLog}),
				request.Field(), (&RequestFields{}).Field(), zap.Skip(), zap.Bool("yes", true), zap.Bool("no", false), zap.Uint64("large", math.MaxUint64), zap.Uint8("byte", 255), zap.Int8("small", -128),
				zap.Object("trailer", caddyhttp.LoggableHTTPHeader{}), zap.String("a\"\n", "\xff"), zap.Float64("tiny", 5e-324), zap.Float64("huge", math.MaxFloat64), zap.Duration("none", -1))
			for _, headers := range [][]string{nil, {"x-mine", "Authorization", "cookie", "X-Token"}} {
				for _, entry := range []zapcore.Entry{
					{Level: zapcore.ErrorLevel, Time: time.Unix(1796074222, 378235312), LoggerName: "http.log.access.log0", Message: "handled request"},
					{Message: "a\x1b\"\\"},
				} {
					fast, slow := bothLines(t, headers, entry, fields)
					if fast == nil {
						t.Fatalf("%s: it is not written the fast way", name)
					}
					if !reflect.DeepEqual(fast, slow) {
						t.Errorf("%s: wrote\n%v\nCaddy:\n%v", name, fast, slow)
					}
				}
			}
		}
	}
}

// TestDocumentsOfRequestsAgree: whatever the request, both ways to write it with the fields of ECS agree.
func TestDocumentsOfRequestsAgree(t *testing.T) {
	duration, headers := zap.Duration("duration", 1500*time.Microsecond), http.Header{"Content-Type": {"text/html", "a\""}, "X-Token": {"s3cr3t"}}
	request := &RequestFields{Service: "api:80", Endpoint: "172.18.0.7:80", RequestID: `"id"`, Attempts: 2, Held: 1234567 * time.Nanosecond, Upstream: time.Hour}
	for kind, own := range map[string][]zap.Field{
		"a response": {
			zap.Int("bytes_read", 12), zap.String("user_id", ""), duration, zap.Int("size", 34), zap.Int("status", 399), zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: headers}),
			request.Field(), zap.String("traceID", "4bf9"), zap.String("spanID", "00f0"), zap.String("uuid", "id-2"), zap.String("uri", "/y?token=s3cr3t"), zap.String("region", ""),
		},
		"a response without headers": {zap.Int("status", 400), zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{}), (&RequestFields{Endpoint: "web/1"}).Field(), zap.Float64("duration", 1.5)},
		"an error":                   {zap.String("error", "refused"), duration, zap.Int("status", 502), zap.String("err_id", "x"), zap.String("err_trace", "here"), zap.String("endpoint", "[fd00::1]:80")},
		"a socket":                   {zap.Int("status", 101), zap.String("closed_by", "edge"), zap.String("close_reason", "idle"), request.Field(), zap.Skip(), zap.Bool("yes", true), zap.Uint64("large", 1<<53), zap.Int8("n", -1)},
		"no status":                  {zap.String("service", "api:80"), zap.Float64("ratio", 0.5), zap.Bool("no", false), zap.String("url", "/?token=s3cr3t")},
	} {
		for name, r := range requests() {
			for _, more := range [][]string{nil, {"x-mine", "Authorization", "cookie"}} {
				for _, mayLog := range []bool{false, true} {
					fields := append(slices.Clone(own), zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r, ShouldLogCredentials: mayLog}))
					entry := zapcore.Entry{Level: zapcore.ErrorLevel, Time: time.Unix(1796074222, 378235312), LoggerName: "http.log.access.log0", Message: "handled \"request\""}
					fast, slow := bothDocuments(t, more, entry, fields)
					if fast == nil {
						t.Fatalf("%s, %s: it is not written the fast way", kind, name)
					}
					if !reflect.DeepEqual(fast, slow) {
						t.Errorf("%s, %s: wrote\n%v\nas a document:\n%v", kind, name, fast, slow)
					}
				}
			}
		}
	}
}

// TestOtherEntriesAreNotWrittenTheFastWay: fields of other types, a name that is there twice, and what is not of a request.
func TestOtherEntriesAreNotWrittenTheFastWay(t *testing.T) {
	request := zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: secretRequest()})
	for name, fields := range map[string][]zap.Field{
		"no request": {zap.Int("status", 200)}, "an address": {request, zap.String("address", "a")}, "a name twice": {request, zap.String("n", "a"), zap.Int("n", 1)},
		"a time of another kind": {request, zap.Time("x", time.Unix(1, 0))}, "an error": {request, zap.Error(errors.New("refused"))}, "other headers": {request, zap.Object("trailer", caddyhttp.LoggableHTTPHeader{})},
		"an object": {request, zap.Object("x", point{"y": 1})}, "an inline object": {request, zap.Inline(point{"y": 1})}, "no number": {request, zap.Float64("x", math.NaN())},
		"a number of attempts": {request, (&RequestFields{}).Field(), zap.Int("attempts", 1)}, "a text as a request": {request, zap.String("resp_headers", "x")}, "an endpoint that is none": {request, zap.Int("endpoint", 5)},
		"a name of the schema": {request, zap.String("resp_headers.content-type", "x")}, "two services": {request, zap.String("service", "a"), (&RequestFields{Service: "b"}).Field()},
		"two requests":    {request, (&RequestFields{}).Field(), (&RequestFields{}).Field()},
		"another request": {zap.Object("other", caddyhttp.LoggableHTTPRequest{Request: secretRequest()}), request}, "a duration": {request, zap.Duration("x", 1)},
	} {
		if fast, slow := bothDocuments(t, nil, zapcore.Entry{Message: "m"}, fields); fast != nil || slow["message"] != "m" {
			t.Errorf("%s: %v", name, fast)
		}
	}
}

// TestOtherEntriesAreForCaddysEncoder, and no half of a line is left of the attempt.
func TestOtherEntriesAreForCaddysEncoder(t *testing.T) {
	for name, field := range map[string]zap.Field{
		"no number": zap.Float64("x", math.NaN()), "no finite number": zap.Float64("x", math.Inf(-1)), "a namespace": zap.Namespace("x"), "an error": zap.Error(errors.New("refused")),
		"an object": zap.Object("x", point{"y": 1}), "an inline object": zap.Inline(point{"y": 1}), "an array": zap.Strings("x", []string{"a"}), "a time": zap.Time("x", time.Unix(1, 0)), "any": zap.Any("x", []int{1}),
		"a text": zap.Stringer("x", time.Second), "bytes": zap.Binary("x", []byte("y")), "a complex number": zap.Complex128("x", 1), "a small float": zap.Float32("x", 1), "a pointer": zap.Uintptr("x", 1),
	} {
		if fast, _ := bothLines(t, nil, zapcore.Entry{}, []zap.Field{zap.Int("first", 1), field}); fast != nil {
			t.Errorf("%s: %v", name, fast)
		}
		log, out := newLogger(t, new(RedactEncoder), "redact")
		log.Info("m", zap.Int("first", 1), field)
		if got := decode(t, out.Bytes()); got["first"] != 1.0 || got["msg"] != "m" {
			t.Errorf("%s: wrote %s", name, out)
		}
	}
	for _, entry := range []zapcore.Entry{{Stack: "here"}, {Caller: zapcore.EntryCaller{Defined: true, File: "a.go"}}} {
		if fast, _ := bothLines(t, nil, entry, nil); fast != nil {
			t.Errorf("%+v: %v", entry, fast)
		}
	}
	for text, want := range map[string]bool{
		"redact": true, "redact {\n wrap json\n}": true, "redact {\n wrap json {\n  time_format iso8601\n }\n}": false, "redact {\n wrap console\n}": false, "redact {\n wrap limit\n}": false,
	} {
		e := new(RedactEncoder)
		newLogger(t, e, text)
		if got := isPlainJSON(e.wrapped); got != want {
			t.Errorf("%s: it is Caddy's json: %v", text, got)
		}
	}
}

func FuzzLinesAreCaddys(f *testing.F) {
	f.Add("/a?token=b", "example.com", "Via", "x\n", 1.5, int64(1947779410))
	f.Add("/\xff\u2028<&", "\"", "Cookie", "\\", math.NaN(), int64(-1))
	f.Fuzz(func(t *testing.T, uri, host, header, value string, number float64, duration int64) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RequestURI, r.Host, r.RemoteAddr, r.Header = uri, host, host, http.Header{header: {value, host}}
		fast, slow := bothLines(t, []string{header}, zapcore.Entry{Message: value, LoggerName: host}, []zap.Field{
			zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r}), zap.String("u"+header, uri), zap.Float64("number", number), zap.Duration("duration", time.Duration(duration)),
			zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: http.Header{header: {uri}, host: {}}}),
		})
		if fast != nil && !reflect.DeepEqual(fast, slow) {
			t.Errorf("wrote\n%v\nCaddy:\n%v", fast, slow)
		}
		documents := []zap.Field{zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r}), zap.String("endpoint", host), zap.Int("status", len(uri)), zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: http.Header{header: {uri}}})}
		if got, want := bothDocuments(t, []string{header}, zapcore.Entry{Message: value, LoggerName: host}, documents); got == nil || !reflect.DeepEqual(got, want) {
			t.Errorf("wrote\n%v\nas a document:\n%v", got, want)
		}
		if (fast == nil) != (math.IsNaN(number) || math.IsInf(number, 0)) {
			t.Errorf("%v: written the fast way: %v", number, fast != nil)
		}
	})
}

// TestFieldsOfOthersWithTheSameName: `log_append` may set them, too. In JSON, both are written, as Caddy does; the schema has no room for two.
func TestFieldsOfOthersWithTheSameName(t *testing.T) {
	request := &RequestFields{Service: "api:80", Endpoint: "172.18.0.7:80", RequestID: "id-1", Attempts: 1}
	fields := []zap.Field{
		request.Field(), zap.String("request_id", "after"), zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: secretRequest()}), zap.String("request.headers.user-agent", "mine"),
	}
	log, out := newLogger(t, new(ECSEncoder), "ecs")
	log.Info("handled request", fields...)
	if got := decode(t, out.Bytes()); got["http.request.id"] != "after" || strings.Count(out.String(), "http.request.id") != 1 || strings.Count(out.String(), "headers.user-agent") != 1 {
		t.Errorf("wrote %s", out)
	}
	log, out = newLogger(t, new(RedactEncoder), "redact")
	log.Info("handled request", fields...)
	if got := decode(t, out.Bytes()); got["request_id"] != "after" || got["service"] != "api:80" {
		t.Errorf("wrote %s", out)
	}
}

// TestErrorsOfServicesAreLimitedByService, also where the service is one of the fields of a request.
func TestErrorsOfServicesAreLimitedByService(t *testing.T) {
	log, out := newLogger(t, new(LimitEncoder), "limit {\n interval 1h\n first 2\n wrap redact\n}")
	for range 5 {
		for _, name := range []string{"api:80", "web:80"} {
			log.Warn("not answered", (&RequestFields{Service: name}).Field())
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 4 {
		t.Errorf("%d lines, want 4:\n%s", n, out)
	}
}

// probeEncoder counts the entries of Caddy that [jsonLine] writes, and the others.
type probeEncoder struct{ RedactEncoder }

var probed struct{ fast, slow atomic.Int64 }

func init() {
	caddy.RegisterModule(new(probeEncoder))
}

// CaddyModule returns the Caddy module information.
func (*probeEncoder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.encoders.probe", New: func() caddy.Module { return new(probeEncoder) }}
}

// Provision makes the encoder one that counts.
func (e *probeEncoder) Provision(ctx caddy.Context) error {
	err := e.RedactEncoder.Provision(ctx)
	e.entries = e
	return err
}

// UnmarshalCaddyfile implements [caddyfile.Unmarshaler].
func (*probeEncoder) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

func (e *probeEncoder) encode(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	if (jsonLine{encoded.Get(), e.filter}).add(entry, fields) && (&ecsLine{jsonLine: jsonLine{encoded.Get(), e.filter}}).add(entry, fields) {
		probed.fast.Add(1)
	} else {
		probed.slow.Add(1)
	}
	return e.RedactEncoder.encode(entry, fields)
}

// TestCaddysAccessLogIsWrittenTheFastWay: a field of a new type, after an update of Caddy, would make each request cost more.
func TestCaddysAccessLogIsWrittenTheFastWay(t *testing.T) {
	probed.fast.Store(0)
	probed.slow.Store(0)
	dir, port := t.TempDir(), testport.Port(t)
	text := fmt.Sprintf("{\n admin off\n persist_config off\n storage file_system %[1]s\n http_port 0\n}\nhttp://127.0.0.1:%[2]s {\n log {\n  output file %[1]s/access.log\n  format probe\n }\n"+
		" log_append region north\n log_append id {http.request.uuid}\n respond hello\n}\n", dir, port)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		resp, err := http.Post("http://127.0.0.1:"+port+"/a?b=c", "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	for deadline := time.Now().Add(5 * time.Second); probed.fast.Load()+probed.slow.Load() < 5 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
	}
	if fast, slow := probed.fast.Load(), probed.slow.Load(); fast != 5 || slow != 0 {
		t.Errorf("%d entries were written the fast way, %d the other, want 5 and 0", fast, slow)
	}
}
