package logs

import (
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap/zapcore"

	"github.com/theworklabs/edge/internal/redact"
)

// ecsLine writes an entry of a request as [document] has it, without one and so at less cost. Entries with other fields are for [document].
type ecsLine struct {
	jsonLine

	status                   int64
	hasStatus, isOfAccessLog bool
}

// add adds an entry. If it returns false, the caller must discard what it has written.
func (l *ecsLine) add(entry zapcore.Entry, fields []zapcore.Field) bool {
	if entry.Caller.Defined || entry.Stack != "" || !canWrite(fields) {
		return false
	}
	l.begin(entry)
	l.text("log.logger", entry.LoggerName)
	for i := range fields {
		if !l.addField(&fields[i]) {
			return false
		}
	}
	if l.hasStatus {
		addOutcome(l, l.status, l.isOfAccessLog)
	} else {
		l.text("event.dataset", logDataset)
	}
	l.AppendString("}\n")
	return true
}

// canWrite reports whether the fields are those of a request, none of which depends on another one, or may have the name of another one in the schema.
func canWrite(fields []zapcore.Field) bool {
	hasRequest := false
	for i := range fields {
		f, rest := &fields[i], fields[i+1:]
		switch {
		case f.Type == zapcore.InlineMarshalerType:
			own, ok := f.Interface.(*RequestFields)
			if !ok || slices.ContainsFunc(fields, func(other zapcore.Field) bool { return own.has(other.Key) }) {
				return false
			}
		case f.Key == "address", strings.HasPrefix(f.Key, "request."), strings.HasPrefix(f.Key, "resp_headers."):
			return false
		case f.Key == "request":
			hasRequest = true
		}
		if f.Key == "" && f.Type != zapcore.SkipType || f.Key != "" && slices.ContainsFunc(rest, func(other zapcore.Field) bool { return other.Key == f.Key }) {
			return false
		}
	}
	return hasRequest
}

func (l *ecsLine) addField(f *zapcore.Field) bool {
	name, isSame := sameValues[f.Key]
	l.isOfAccessLog = l.isOfAccessLog || f.Key == "closed_by" && f.Type != zapcore.SkipType
	switch {
	case f.Type == zapcore.SkipType:
		return true
	case f.Type == zapcore.InlineMarshalerType:
		request, ok := f.Interface.(*RequestFields)
		if ok {
			l.addRequestFields(request)
		}
		return ok
	case f.Type == zapcore.ObjectMarshalerType:
		return l.addObject(f)
	case f.Key == "request" || f.Key == "resp_headers" || f.Key == "endpoint" && f.Type != zapcore.StringType:
		return false
	case f.Key == "endpoint":
		addEndpoint(l, f.String)
		return true
	case f.Type == zapcore.StringType:
		if !isSame {
			name = "caddy." + f.Key
		}
		l.text(name, l.redacted(f.Key, f.String))
		return true
	case f.Type == zapcore.DurationType && f.Key == "duration":
		l.number("event.duration", f.Integer)
		return true
	case f.Key == "status" && f.Type == zapcore.Int64Type:
		l.status, l.hasStatus = f.Integer, true
	}
	if !isSame {
		name = "caddy." + f.Key
	}
	l.key(name)
	return l.simple(f)
}

func (l *ecsLine) addObject(f *zapcore.Field) bool {
	switch object := f.Interface.(type) {
	case caddyhttp.LoggableHTTPRequest:
		if f.Key != "request" {
			return false
		}
		l.addRequest(object)
	case caddyhttp.LoggableHTTPHeader:
		if f.Key != "resp_headers" {
			return false
		}
		l.isOfAccessLog = true
		if values := l.allowed("Content-Type", object.Header["Content-Type"], false); values != nil {
			l.text("caddy.resp_headers.content-type", strings.Join(values, ", "))
		}
	default:
		return false
	}
	return true
}

func (l *ecsLine) addRequestFields(f *RequestFields) {
	l.text("service.target.name", f.Service)
	addEndpoint(l, f.Endpoint)
	l.text("http.request.id", f.RequestID)
	l.text("caddy.uuid", f.UUID)
	l.number("edge.attempts", int64(f.Attempts))
	l.AppendString(`,"edge.held_ms":`)
	l.AppendFloat(milliseconds(f.Held), 64)
	l.AppendString(`,"edge.upstream_ms":`)
	l.AppendFloat(milliseconds(f.Upstream), 64)
}

func (l *ecsLine) addRequest(r caddyhttp.LoggableHTTPRequest) {
	ip, port, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		ip, port = r.RemoteAddr, ""
	}
	l.text("source.ip", ip)
	addPort(l, "source.port", port)
	client, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	l.text("client.ip", client)
	l.text("http.version", strings.TrimPrefix(r.Proto, "HTTP/"))
	l.text("http.request.method", r.Method)
	addURL(l, r.Host, redact.URI(r.RequestURI), r.TLS != nil)
	for name, values := range r.Header {
		safe := l.allowed(name, values, r.ShouldLogCredentials)
		if safe == nil {
			continue
		}
		switch name {
		case "User-Agent":
			l.AppendString(`,"user_agent.original":`)
		case "Referer":
			l.AppendString(`,"http.request.referrer":`)
		default:
			l.headerKey(name)
		}
		l.quote(strings.Join(safe, ", "))
	}
	if r.TLS != nil {
		l.addTLS(r.TLS)
	}
}

// headerKey writes the name of the field for a header: in lower case.
func (l *ecsLine) headerKey(name string) {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf { // no server takes such a name
			l.key("caddy.request.headers." + strings.ToLower(name))
			return
		}
	}
	l.AppendString(`,"caddy.request.headers.`)
	for i := range len(name) {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		l.AppendByte(c)
	}
	l.AppendString(`":`)
}

func (l *ecsLine) addTLS(state *tls.ConnectionState) {
	addTLSVersion(l, state.Version)
	l.text("tls.cipher", tls.CipherSuiteName(state.CipherSuite))
	l.flag("tls.resumed", state.DidResume)
	l.text("tls.next_protocol", state.NegotiatedProtocol)
	l.text("tls.client.server_name", state.ServerName)
}

// begin writes the fields with which each entry begins, in the order of the specification of ECS logging.
func (l jsonLine) begin(entry zapcore.Entry) {
	l.AppendString(`{"@timestamp":"`)
	l.AppendTime(entry.Time.UTC(), "2006-01-02T15:04:05.000Z07:00")
	l.AppendString(`","log.level":`)
	l.quote(entry.Level.String())
	l.AppendString(`,"message":`)
	l.quote(entry.Message)
	l.AppendString(`,"ecs.version":"` + ECSVersion + `","service.name":"edge","service.type":"caddy","event.kind":"event"`)
}

func (l jsonLine) text(name, value string) {
	if value != "" {
		l.key(name)
		l.quote(value)
	}
}

func (l jsonLine) number(name string, n int64) {
	l.key(name)
	l.AppendInt(n)
}

func (l jsonLine) flag(name string, is bool) {
	l.key(name)
	l.AppendBool(is)
}

func (l jsonLine) list(name, item string) {
	l.key(name)
	l.AppendByte('[')
	l.quote(item)
	l.AppendByte(']')
}
