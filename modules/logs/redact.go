// Package logs has the encoders of logs `redact`, `ecs` and `limit`.
package logs

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/logging"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/theworklabs/edge/internal/redact"
)

func init() {
	caddy.RegisterModule(new(RedactEncoder))
}

// RedactEncoder removes secrets from log entries before another encoder writes them: from URIs, parameters whose name or value looks like that of
// a secret, and parts of paths that do; and all headers but those that are known to have no secrets.
type RedactEncoder struct {
	// The encoder that writes the entries. Default: `json`, or `console` on a terminal.
	WrappedRaw json.RawMessage `json:"wrap,omitempty" caddy:"namespace=caddy.logging.encoders inline_key=format"`

	// More headers that are written.
	Headers []string `json:"headers,omitempty"`

	wrapper
	contextEncoder
	filter
}

// CaddyModule returns the Caddy module information.
func (*RedactEncoder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.encoders.redact", New: func() caddy.Module { return new(RedactEncoder) }}
}

// Provision loads the wrapped encoder.
func (e *RedactEncoder) Provision(ctx caddy.Context) error {
	e.filter, e.entries = newFilter(e.Headers), e
	return e.load(ctx, e, e.WrappedRaw)
}

// UnmarshalCaddyfile reads
//
//	redact {
//		wrap    <encoder>
//		headers <names...>
//	}
func (e *RedactEncoder) UnmarshalCaddyfile(d *caddyfile.Dispenser) (err error) {
	return unmarshalEncoder(d, &e.WrappedRaw, map[string]func(*caddyfile.Dispenser) error{"headers": headersOption(&e.Headers)})
}

func (e *RedactEncoder) encode(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	if isPlainJSON(e.wrapped) {
		line := encoded.Get()
		if (jsonLine{line, e.filter}).add(entry, fields) {
			return line, nil
		}
		line.Free()
	}
	e.clean(fields)
	return e.wrapped.EncodeEntry(entry, fields)
}

// filter removes secrets from fields.
type filter struct{ headers []string } // more that are written

func newFilter(headers []string) filter {
	f := filter{make([]string, len(headers))}
	for i, name := range headers {
		f.headers[i] = http.CanonicalHeaderKey(name)
	}
	return f
}

// clean removes the secrets from fields. It does not change what they refer to.
func (f filter) clean(fields []zapcore.Field) {
	for i := range fields {
		switch field := &fields[i]; field.Type {
		case zapcore.ObjectMarshalerType:
			field.Interface = f.object(field.Key, field.Interface.(zapcore.ObjectMarshaler))
		case zapcore.StringType:
			field.String = f.redacted(field.Key, field.String)
		}
	}
}

// object returns an object without secrets.
func (f filter) object(key string, object zapcore.ObjectMarshaler) zapcore.ObjectMarshaler {
	switch o := object.(type) {
	case caddyhttp.LoggableHTTPHeader:
		return safeHeader{o, f}
	case recordedObject:
		if key == "headers" || strings.HasSuffix(key, "_headers") {
			return safeRecord{o, f}
		}
	}
	return safeObject{object, f}
}

// redacted returns the value of a field with a text without secrets.
func (filter) redacted(key, value string) string {
	if key == "uri" || key == "url" {
		return redact.URI(value)
	}
	return value
}

// safeObject is an object whose URIs and headers have no secrets, also those of the objects in it.
type safeObject struct {
	zapcore.ObjectMarshaler
	filter
}

// MarshalLogObject implements [zapcore.ObjectMarshaler].
func (o safeObject) MarshalLogObject(to zapcore.ObjectEncoder) error {
	return o.ObjectMarshaler.MarshalLogObject(safeEncoder{to, o.filter})
}

// safeEncoder is the encoder of a [safeObject].
type safeEncoder struct {
	zapcore.ObjectEncoder
	filter filter
}

// AddString implements [zapcore.ObjectEncoder].
func (e safeEncoder) AddString(key, value string) {
	if strings.HasPrefix(value, "/") || strings.Contains(value, "://") { // whatever Caddy's encoder `filter` has renamed it to
		value = redact.URI(value)
	}
	e.ObjectEncoder.AddString(key, e.filter.redacted(key, value))
}

// AddObject implements [zapcore.ObjectEncoder].
func (e safeEncoder) AddObject(key string, object zapcore.ObjectMarshaler) error {
	return e.ObjectEncoder.AddObject(key, e.filter.object(key, object))
}

// safeHeader writes the headers that are known to have no secrets.
type safeHeader struct {
	caddyhttp.LoggableHTTPHeader
	filter
}

// MarshalLogObject implements [zapcore.ObjectMarshaler].
func (h safeHeader) MarshalLogObject(to zapcore.ObjectEncoder) error {
	for name, values := range h.Header {
		if safe := h.allowed(name, values, h.ShouldLogCredentials); safe != nil {
			if err := to.AddArray(name, caddyhttp.LoggableStringArray(safe)); err != nil {
				return err
			}
		}
	}
	return nil
}

// allowed returns the values of a header that may be written, or nil. Of the headers that the configuration adds, those that Caddy takes for credentials are written
// only if the server's log_credentials is on.
func (f filter) allowed(name string, values []string, mayLogCredentials bool) []string {
	if safe := redact.Header(name, values); safe != nil || !slices.Contains(f.headers, name) {
		return safe
	}
	switch name {
	case "Authorization", "Cookie", "Proxy-Authorization", "Set-Cookie":
		if !mayLogCredentials {
			return []string{redact.Mark}
		}
	}
	return slices.Concat([]string{}, values)
}

// safeRecord writes the headers of a record that are known to have no secrets. Caddy has replaced the credentials when it was made.
type safeRecord struct {
	recordedObject
	filter
}

// MarshalLogObject implements [zapcore.ObjectMarshaler].
func (r safeRecord) MarshalLogObject(to zapcore.ObjectEncoder) error {
	for _, field := range r.recordedObject {
		values := zapcore.NewMapObjectEncoder()
		field.AddTo(values)
		var texts []string
		switch v := values.Fields[field.Key].(type) {
		case string: // Caddy's encoder `filter` has replaced the values
			texts = []string{v}
		case []any:
			texts = make([]string, len(v))
			for i := range v {
				texts[i] = fmt.Sprint(v[i])
			}
		default:
			continue
		}
		if safe := r.allowed(field.Key, texts, true); safe != nil {
			if err := to.AddArray(field.Key, caddyhttp.LoggableStringArray(safe)); err != nil {
				return err
			}
		}
	}
	return nil
}

// wrapper has the encoder that another one wraps.
type wrapper struct {
	wrapped zapcore.Encoder

	isDefault bool
	ctx       caddy.Context
}

// load loads the encoder that a module names, or the default.
func (w *wrapper) load(ctx caddy.Context, module any, raw json.RawMessage) error {
	w.ctx = ctx
	if raw == nil {
		w.isDefault = true
		return w.use(new(logging.JSONEncoder))
	}
	encoder, err := ctx.LoadModule(module, "WrappedRaw")
	if err != nil {
		return fmt.Errorf("load the encoder that is wrapped: %w", err)
	}
	w.wrapped = encoder.(zapcore.Encoder)
	return nil
}

func (w *wrapper) use(encoder interface {
	zapcore.Encoder
	caddy.Provisioner
},
) error {
	w.wrapped = encoder
	return encoder.Provision(w.ctx)
}

// ConfigureDefaultFormat makes the encoder one for people if it writes to a terminal, and the configuration names none.
func (w *wrapper) ConfigureDefaultFormat(to caddy.WriterOpener) error {
	if queue, ok := to.(*QueueWriter); ok {
		to = queue.wrapped
	}
	if inner, ok := w.wrapped.(caddy.ConfiguresFormatterDefault); ok && !w.isDefault {
		return inner.ConfigureDefaultFormat(to)
	}
	if w.isDefault && caddy.IsWriterStandardStream(to) && term.IsTerminal(int(os.Stderr.Fd())) {
		return w.use(new(logging.ConsoleEncoder))
	}
	return nil
}

// unmarshalEncoder reads the block of an encoder that wraps another one.
func unmarshalEncoder(d *caddyfile.Dispenser, wrapped *json.RawMessage, options map[string]func(*caddyfile.Dispenser) error) error {
	d.Next() // the encoder's name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		name := d.Val()
		if name == "wrap" && wrapped != nil {
			if !d.NextArg() {
				return d.ArgErr()
			}
			encoder := d.Val()
			module, err := caddyfile.UnmarshalModule(d, "caddy.logging.encoders."+encoder)
			if err != nil {
				return err
			}
			*wrapped = caddyconfig.JSONModuleObject(module, "format", encoder, nil)
			continue
		}
		option := options[name]
		if option == nil {
			return d.Errf("unknown option %q", name)
		}
		if err := option(d); err != nil {
			return err
		}
	}
	return nil
}

func headersOption(headers *[]string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		names := d.RemainingArgs()
		if len(names) == 0 {
			return d.ArgErr()
		}
		*headers = append(*headers, names...)
		return nil
	}
}

// Interface guards
var (
	_ caddy.Provisioner                = (*RedactEncoder)(nil)
	_ caddy.ConfiguresFormatterDefault = (*RedactEncoder)(nil)
	_ caddyfile.Unmarshaler            = (*RedactEncoder)(nil)
	_ zapcore.Encoder                  = (*RedactEncoder)(nil)
)
