package logs

import (
	"bytes"
	"encoding/json"
	"math"
	"net"
	"slices"
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

// jsonLine is an entry as Caddy's json encoder writes it, without secrets. It knows the fields of an access log alone, which it writes at a third of the cost, since an
// access log has an entry for each request. Numbers that JSON does not have, namespaces, and objects of other types are for Caddy's encoder.
type jsonLine struct {
	*buffer.Buffer
	filter
}

// add adds an entry. If it returns false, the line is of no use.
func (l jsonLine) add(entry zapcore.Entry, fields []zapcore.Field) bool {
	if entry.Caller.Defined || entry.Stack != "" {
		return false
	}
	l.AppendString(`{"level":`)
	l.text(entry.Level.String())
	if !entry.Time.IsZero() {
		l.AppendString(`,"ts":`)
		l.AppendFloat(float64(entry.Time.UnixNano())/float64(time.Second), 64)
	}
	if entry.LoggerName != "" {
		l.AppendString(`,"logger":`)
		l.text(entry.LoggerName)
	}
	l.AppendString(`,"msg":`)
	l.text(entry.Message)
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
		l.text(l.filter.text(f.Key, f.String))
	case zapcore.Int64Type, zapcore.Int32Type, zapcore.Int16Type, zapcore.Int8Type:
		l.AppendInt(f.Integer)
	case zapcore.Uint64Type, zapcore.Uint32Type, zapcore.Uint16Type, zapcore.Uint8Type:
		l.AppendUint(uint64(f.Integer))
	case zapcore.BoolType:
		l.AppendBool(f.Integer == 1)
	case zapcore.DurationType:
		l.AppendFloat(time.Duration(f.Integer).Seconds(), 64)
	case zapcore.Float64Type:
		return l.float(math.Float64frombits(uint64(f.Integer)))
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
		return false
	}
	return true
}

func (l jsonLine) addRequestFields(f *RequestFields) {
	for _, named := range f.names() {
		if *named.value != "" {
			l.key(named.key)
			l.text(*named.value)
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
	l.text(ip)
	l.AppendString(`,"remote_port":`)
	l.text(port)
	if ip, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); ok {
		l.AppendString(`,"client_ip":`)
		l.text(ip)
	}
	l.AppendString(`,"proto":`)
	l.text(r.Proto)
	l.AppendString(`,"method":`)
	l.text(r.Method)
	l.AppendString(`,"host":`)
	l.text(r.Host)
	l.AppendString(`,"uri":`)
	l.text(redact.URI(r.RequestURI))
	l.AppendString(`,"headers":`)
	l.header(caddyhttp.LoggableHTTPHeader{Header: r.Header, ShouldLogCredentials: r.ShouldLogCredentials})
	if r.TransferEncoding != nil {
		l.AppendString(`,"transfer_encoding":`)
		l.texts(r.TransferEncoding)
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
	l.text(state.NegotiatedProtocol)
	l.AppendString(`,"server_name":`)
	l.text(state.ServerName)
	l.AppendString(`,"ech":`)
	l.AppendBool(state.ECHAccepted)
	if len(state.PeerCertificates) > 0 {
		l.AppendString(`,"client_common_name":`)
		l.text(state.PeerCertificates[0].Subject.CommonName)
		l.AppendString(`,"client_serial":`)
		l.text(state.PeerCertificates[0].SerialNumber.String())
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
		l.text(name)
		l.AppendByte(':')
		l.texts(safe)
		separator = ','
	}
	if separator == '{' {
		l.AppendByte('{')
	}
	l.AppendByte('}')
}

// allowed returns the values of a header that may be written, or nil. Of the headers that the configuration adds, Caddy decides whether they are credentials.
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
	return values
}

func (l jsonLine) texts(values []string) {
	separator := byte('[')
	for _, v := range values {
		l.AppendByte(separator)
		l.text(v)
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
	l.text(name)
	l.AppendByte(':')
}

func (l jsonLine) text(value string) {
	if hasEscapes(value) {
		l.escaped(value)
		return
	}
	l.AppendByte('"')
	l.AppendString(value)
	l.AppendByte('"')
}

// hasEscapes reports whether JSON writes a text in another way than it is.
func hasEscapes(text string) bool {
	isASCII := true
	for i := range len(text) {
		c := text[i]
		if c < ' ' || c == '"' || c == '\\' {
			return true
		}
		isASCII = isASCII && c < utf8.RuneSelf
	}
	return !isASCII && !utf8.ValidString(text)
}

// escaped writes a text with escapes, but those that only HTML needs.
func (l jsonLine) escaped(value string) {
	var quoted bytes.Buffer
	encoder := json.NewEncoder(&quoted)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // a text is never an error
	_, _ = l.Write(bytes.TrimSuffix(quoted.Bytes(), []byte("\n")))
}
