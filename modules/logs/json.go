package logs

import (
	"math"
	"net"
	"time"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/logging"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"

	"github.com/theworklabs/edge/internal/redact"
)

// isPlainJSON reports whether an encoder is Caddy's json with its defaults: [jsonLine] writes what it does.
func isPlainJSON(encoder zapcore.Encoder) bool {
	e, ok := encoder.(*logging.JSONEncoder)
	return ok && e.LogEncoderConfig == logging.LogEncoderConfig{}
}

// jsonLine writes an entry as Caddy's json encoder does, without secrets. It knows the fields of an access log alone, which it writes at less cost, since there is an entry for
// each request. Numbers that JSON does not have, namespaces, and objects of other types are for Caddy's encoder.
type jsonLine struct {
	*buffer.Buffer
	filter
}

// add adds an entry. If it returns false, the caller must discard what it has written.
func (l jsonLine) add(entry zapcore.Entry, fields []zapcore.Field) bool {
	if entry.Caller.Defined || entry.Stack != "" {
		return false
	}
	l.AppendString(`{"level":`)
	l.quote(entry.Level.String())
	if !entry.Time.IsZero() {
		l.AppendString(`,"ts":`)
		l.AppendFloat(float64(entry.Time.UnixNano())/float64(time.Second), 64)
	}
	if entry.LoggerName != "" {
		l.AppendString(`,"logger":`)
		l.quote(entry.LoggerName)
	}
	l.AppendString(`,"msg":`)
	l.quote(entry.Message)
	for i := range fields {
		if !l.addField(&fields[i]) {
			return false
		}
	}
	l.AppendString("}\n")
	return true
}

func (l jsonLine) addField(f *zapcore.Field) bool {
	switch f.Type {
	case zapcore.SkipType:
		return true
	case zapcore.InlineMarshalerType:
		request, ok := f.Interface.(*RequestFields)
		if ok {
			l.addRequestFields(request)
		}
		return ok
	}
	l.key(f.Key)
	switch f.Type {
	case zapcore.StringType:
		l.quote(l.redacted(f.Key, f.String))
	case zapcore.DurationType:
		l.AppendFloat(float64(f.Integer)/float64(time.Second), 64)
	case zapcore.ObjectMarshalerType:
		switch object := f.Interface.(type) {
		case caddyhttp.LoggableHTTPRequest:
			l.request(object)
		case caddyhttp.LoggableHTTPHeader:
			l.header(object)
		default:
			return false
		}
	default:
		return l.simple(f)
	}
	return true
}

// simple writes a number, or whether something is so. It returns false if the field has another type.
func (l jsonLine) simple(f *zapcore.Field) bool {
	switch f.Type {
	case zapcore.Int64Type, zapcore.Int32Type, zapcore.Int16Type, zapcore.Int8Type:
		l.AppendInt(f.Integer)
	case zapcore.Uint64Type, zapcore.Uint32Type, zapcore.Uint16Type, zapcore.Uint8Type:
		l.AppendUint(uint64(f.Integer))
	case zapcore.BoolType:
		l.AppendBool(f.Integer == 1)
	case zapcore.Float64Type:
		return l.float(math.Float64frombits(uint64(f.Integer)))
	default:
		return false
	}
	return true
}

func (l jsonLine) addRequestFields(f *RequestFields) {
	for _, text := range f.texts() {
		if text.value != "" {
			l.key(text.name)
			l.quote(text.value)
		}
	}
	l.AppendString(`,"attempts":`)
	l.AppendInt(int64(f.Attempts))
	l.AppendString(`,"held_ms":`)
	l.AppendFloat(milliseconds(f.Held), 64)
	l.AppendString(`,"upstream_ms":`)
	l.AppendFloat(milliseconds(f.Upstream), 64)
}

// request writes what [caddyhttp.LoggableHTTPRequest] does.
func (l jsonLine) request(r caddyhttp.LoggableHTTPRequest) {
	ip, port, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		ip, port = r.RemoteAddr, ""
	}
	l.AppendString(`{"remote_ip":`)
	l.quote(ip)
	l.AppendString(`,"remote_port":`)
	l.quote(port)
	if ip, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); ok {
		l.AppendString(`,"client_ip":`)
		l.quote(ip)
	}
	l.AppendString(`,"proto":`)
	l.quote(r.Proto)
	l.AppendString(`,"method":`)
	l.quote(r.Method)
	l.AppendString(`,"host":`)
	l.quote(r.Host)
	l.AppendString(`,"uri":`)
	l.quote(redact.URI(r.RequestURI))
	l.AppendString(`,"headers":`)
	l.header(caddyhttp.LoggableHTTPHeader{Header: r.Header, ShouldLogCredentials: r.ShouldLogCredentials})
	if r.TransferEncoding != nil {
		l.AppendString(`,"transfer_encoding":`)
		l.quoteAll(r.TransferEncoding)
	}
	if r.TLS != nil {
		l.AppendString(`,"tls":`)
		l.tls((*caddyhttp.LoggableTLSConnState)(r.TLS))
	}
	l.AppendByte('}')
}

// tls writes what [caddyhttp.LoggableTLSConnState] does.
func (l jsonLine) tls(state *caddyhttp.LoggableTLSConnState) {
	l.AppendString(`{"resumed":`)
	l.AppendBool(state.DidResume)
	l.AppendString(`,"version":`)
	l.AppendUint(uint64(state.Version))
	l.AppendString(`,"cipher_suite":`)
	l.AppendUint(uint64(state.CipherSuite))
	l.AppendString(`,"proto":`)
	l.quote(state.NegotiatedProtocol)
	l.AppendString(`,"server_name":`)
	l.quote(state.ServerName)
	l.AppendString(`,"ech":`)
	l.AppendBool(state.ECHAccepted)
	if len(state.PeerCertificates) > 0 {
		l.AppendString(`,"client_common_name":`)
		l.quote(state.PeerCertificates[0].Subject.CommonName)
		l.AppendString(`,"client_serial":`)
		l.quote(state.PeerCertificates[0].SerialNumber.String())
	}
	l.AppendByte('}')
}

// header writes the headers that [safeHeader] does.
func (l jsonLine) header(h caddyhttp.LoggableHTTPHeader) {
	separator := byte('{')
	for name, values := range h.Header {
		safe := l.allowed(name, values, h.ShouldLogCredentials)
		if safe == nil {
			continue
		}
		l.AppendByte(separator)
		l.quote(name)
		l.AppendByte(':')
		l.quoteAll(safe)
		separator = ','
	}
	if separator == '{' {
		l.AppendByte('{')
	}
	l.AppendByte('}')
}

func (l jsonLine) quoteAll(values []string) {
	separator := byte('[')
	for _, v := range values {
		l.AppendByte(separator)
		l.quote(v)
		separator = ','
	}
	if separator == '[' {
		l.AppendByte('[')
	}
	l.AppendByte(']')
}

// float writes a number, or returns false if JSON has no such number.
func (l jsonLine) float(v float64) bool {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return false
	}
	l.AppendFloat(v, 64)
	return true
}

func (l jsonLine) key(name string) {
	l.AppendByte(',')
	l.quote(name)
	l.AppendByte(':')
}

// quote writes a text, with the escapes that JSON needs.
func (l jsonLine) quote(value string) {
	l.AppendByte('"')
	written := 0
	for i := 0; i < len(value); {
		c := value[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(value[i:])
			if r == utf8.RuneError && size == 1 {
				l.AppendString(value[written:i])
				l.AppendString(`\ufffd`)
				written = i + 1
			}
			i += size
			continue
		}
		if c < ' ' || c == '"' || c == '\\' {
			l.AppendString(value[written:i])
			l.escape(c)
			written = i + 1
		}
		i++
	}
	l.AppendString(value[written:])
	l.AppendByte('"')
}

func (l jsonLine) escape(c byte) {
	switch c {
	case '"', '\\':
		l.AppendByte('\\')
		l.AppendByte(c)
	case '\n':
		l.AppendString(`\n`)
	case '\r':
		l.AppendString(`\r`)
	case '\t':
		l.AppendString(`\t`)
	default:
		const digits = "0123456789abcdef"
		l.AppendString(`\u00`)
		l.AppendByte(digits[c>>4])
		l.AppendByte(digits[c&0xf])
	}
}
