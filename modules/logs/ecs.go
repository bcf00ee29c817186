package logs

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

func init() {
	caddy.RegisterModule(new(ECSEncoder))
}

// ECSVersion is the version of the Elastic Common Schema whose fields [ECSEncoder] writes.
const ECSVersion = "8.17.0"

// ECSEncoder writes log entries as JSON with the fields of the Elastic Common Schema 8, without secrets, as [RedactEncoder] removes them. What
// the schema has no field for begins with `caddy.`, or with `edge.` for the fields of edge_proxy.
//
// The names of fields are as https://www.elastic.co/docs/reference/ecs/ecs-field-reference has them, with dots.
type ECSEncoder struct {
	// More request headers that are written, as `caddy.request.headers.NAME`.
	Headers []string `json:"headers,omitempty"`

	contextEncoder
	filter filter
}

// CaddyModule returns the Caddy module information.
func (*ECSEncoder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.encoders.ecs", New: func() caddy.Module { return new(ECSEncoder) }}
}

// Provision prepares the encoder.
func (e *ECSEncoder) Provision(caddy.Context) error {
	e.filter, e.entries = newFilter(e.Headers), e
	return nil
}

// UnmarshalCaddyfile reads
//
//	ecs {
//		headers <names...>
//	}
func (e *ECSEncoder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalEncoder(d, nil, map[string]func(*caddyfile.Dispenser) error{"headers": headersOption(&e.Headers)})
}

func (e *ECSEncoder) encode(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	line := encoded.Get()
	if (&ecsLine{jsonLine: jsonLine{line, e.filter}}).add(entry, fields) {
		return line, nil
	}
	line.Reset()
	return e.document(line, entry, fields)
}

// document writes an entry with any fields.
func (e *ECSEncoder) document(line *buffer.Buffer, entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	e.filter.clean(fields)
	values := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(values)
	}
	d := make(document)
	d.text("log.logger", entry.LoggerName)
	d.text("error.stack_trace", entry.Stack)
	if entry.Caller.Defined {
		d["log.origin.file.name"], d["log.origin.file.line"] = entry.Caller.File, entry.Caller.Line
	}
	d.addFields(values.Fields)
	jsonLine{line, e.filter}.begin(entry)
	rest, err := json.Marshal(d)
	if err != nil { // JSON has no such value, such as an infinite number
		for name, value := range d {
			d[name] = fmt.Sprint(value)
		}
		rest, _ = json.Marshal(d)
	}
	line.AppendByte(',')
	_, _ = line.Write(rest[1:]) // it never fails
	line.AppendByte('\n')
	return line, nil
}

var encoded = buffer.NewPool()

// document has the fields of one entry.
type document map[string]any

func (d document) text(name, value string) {
	if value != "" {
		d[name] = value
	}
}

func (d document) number(name string, n int64)   { d[name] = n }
func (d document) flag(name string, is bool)     { d[name] = is }
func (d document) list(name string, item string) { d[name] = []string{item} }

// sameValues are fields whose values are as the schema has them.
var sameValues = map[string]string{
	"status": "http.response.status_code", "size": "http.response.body.bytes", "bytes_read": "http.request.body.bytes", "user_id": "user.id",
	"service": "service.target.name", "request_id": "http.request.id", "traceID": "trace.id", "spanID": "span.id", "error": "error.message",
	"err_id": "error.id", "attempts": "edge.attempts", "held_ms": "edge.held_ms", "upstream_ms": "edge.upstream_ms",
	"closed_by": "edge.closed_by", "close_reason": "edge.close_reason", "outcome": "edge.outcome",
}

// addFields adds the fields of an entry of Caddy.
func (d document) addFields(fields map[string]any) {
	for key, value := range fields {
		name, isSame := sameValues[key]
		switch {
		case value == "" || value == nil:
		case isSame:
			d[name] = value
		case key == "duration":
			d.addDuration(value)
		case key == "address" && (fields["service"] != nil || fields["endpoint"] != nil), key == "endpoint" && fields["address"] == nil: // not where the edge itself listens
			addEndpoint(d, fmt.Sprint(value))
		case (key == "uri" || key == "method") && fields["request"] == nil:
			d[map[string]string{"uri": "url.original", "method": "http.request.method"}[key]] = plain(value)
		case key == "request":
			if request, ok := value.(map[string]any); ok {
				d.addRequest(request)
			}
		case key == "resp_headers":
			if headers, ok := value.(map[string]any); ok {
				d.text("caddy.resp_headers.content-type", header(headers, "Content-Type")) // the schema's mime_type is for what is in the body, not for what the header says
			}
		default:
			d["caddy."+key] = plain(value)
		}
	}
	d.text("event.dataset", logDataset)
	if status, ok := fields["status"].(int64); ok && fields["request"] != nil {
		addOutcome(d, status, fields["resp_headers"] != nil || fields["closed_by"] != nil)
	}
}

func (d document) addDuration(value any) {
	if duration, ok := value.(time.Duration); ok {
		d["event.duration"] = duration.Nanoseconds()
		return
	}
	d["caddy.duration"] = plain(value)
}

// addRequest adds a request as Caddy writes it.
func (d document) addRequest(request map[string]any) {
	text := func(key string) string {
		value, _ := request[key].(string)
		return value
	}
	d.text("source.ip", text("remote_ip"))
	addPort(d, "source.port", text("remote_port"))
	d.text("client.ip", text("client_ip"))
	d.text("http.version", strings.TrimPrefix(text("proto"), "HTTP/"))
	d.text("http.request.method", text("method"))
	addURL(d, text("host"), text("uri"), request["tls"] != nil)
	if headers, ok := request["headers"].(map[string]any); ok {
		for name := range headers {
			switch name {
			case "User-Agent":
				d["user_agent.original"] = header(headers, name)
			case "Referer":
				d["http.request.referrer"] = header(headers, name)
			default:
				d["caddy.request.headers."+strings.ToLower(name)] = header(headers, name)
			}
		}
	}
	if state, ok := request["tls"].(map[string]any); ok {
		d.addTLS(state)
	}
}

func (d document) addTLS(state map[string]any) {
	if version, ok := state["version"].(uint16); ok {
		addTLSVersion(d, version)
	}
	if suite, ok := state["cipher_suite"].(uint16); ok {
		d.text("tls.cipher", tls.CipherSuiteName(suite))
	}
	if resumed, ok := state["resumed"].(bool); ok {
		d.flag("tls.resumed", resumed)
	}
	if protocol, ok := state["proto"].(string); ok {
		d.text("tls.next_protocol", protocol)
	}
	if name, ok := state["server_name"].(string); ok {
		d.text("tls.client.server_name", name)
	}
}

// header returns the values of a header, as Caddy writes them, as one text.
func header(headers map[string]any, name string) string {
	values, _ := headers[name].([]any)
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, ", ")
}

// plain returns a value as JSON can have it: durations in seconds, as Caddy writes them. It changes objects and lists.
func plain(value any) any {
	switch v := value.(type) {
	case time.Duration:
		return float64(v) / float64(time.Second)
	case complex64, complex128:
		return fmt.Sprint(v)
	case map[string]any:
		for name := range v {
			v[name] = plain(v[name])
		}
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	}
	return value
}

// Interface guards
var (
	_ caddy.Provisioner     = (*ECSEncoder)(nil)
	_ caddyfile.Unmarshaler = (*ECSEncoder)(nil)
	_ zapcore.Encoder       = (*ECSEncoder)(nil)
)
