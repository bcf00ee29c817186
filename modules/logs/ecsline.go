package logs

import (
	"crypto/tls"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap/zapcore"

	"github.com/theworklabs/edge/internal/redact"
)

// ecsLine is an entry of an access log as [document] has it, written without one, at a seventh of the cost. Entries with other fields are for [document].
type ecsLine struct {
	jsonLine

	status              int64
	hasStatus, isAccess bool
}

// add adds an entry. If it returns false, the line is of no use.
func (l *ecsLine) add(entry zapcore.Entry, fields []zapcore.Field) bool {
	if entry.Caller.Defined || entry.Stack != "" || !isAccessEntry(fields) {
		return false
	}
	l.begin(entry)
	l.optional("log.logger", entry.LoggerName)
	for i := range fields {
		if !l.addField(&fields[i]) {
			return false
		}
	}
	dataset := "edge.log"
	if l.hasStatus {
		kind := `"error"`
		if l.isAccess {
			dataset, kind = "edge.access", `"access"`
		}
		outcome := `"failure"`
		if l.status < 400 {
			outcome = `"success"`
		}
		for _, part := range [...]string{`,"event.category":["web"],"event.type":[`, kind, `],"event.outcome":`, outcome} {
			l.AppendString(part)
		}
	}
	l.optional("event.dataset", dataset)
	l.AppendString("}\n")
	return true
}

// isAccessEntry reports whether an entry has a request, an address of no other kind, and each name once.
func isAccessEntry(fields []zapcore.Field) bool {
	hasRequest := false
	for i := range fields {
		key := fields[i].Key
		if key == "address" || key != "" && slices.ContainsFunc(fields[i+1:], func(f zapcore.Field) bool { return f.Key == key }) {
			return false
		}
		switch key {
		case "attempts", "held_ms", "upstream_ms": // RequestFields may have it, too
			return false
		}
		hasRequest = hasRequest || key == "request"
	}
	return hasRequest
}

func (l *ecsLine) addField(f *zapcore.Field) bool {
	name, isSame := sameValues[f.Key]
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
	case f.Type == zapcore.StringType && f.Key == "endpoint":
		l.endpoint(f.String)
		return true
	case f.Type == zapcore.StringType:
		l.isAccess = l.isAccess || f.Key == "closed_by"
		if value := l.filter.text(f.Key, f.String); isSame {
			l.optional(name, value)
		} else if value != "" {
			l.ownKey(f.Key)
			l.text(value)
		}
		return true
	case f.Type == zapcore.DurationType && f.Key == "duration":
		l.AppendString(`,"event.duration":`)
		l.AppendInt(f.Integer)
		return true
	case f.Key == "status" && f.Type == zapcore.Int64Type:
		l.status, l.hasStatus = f.Integer, true
	}
	if isSame {
		l.key(name)
	} else {
		l.ownKey(f.Key)
	}
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
		l.isAccess = true
		if values := l.allowed("Content-Type", object.Header["Content-Type"], false); values != nil {
			l.optional("caddy.resp_headers.content-type", strings.Join(values, ", "))
		}
	default:
		return false
	}
	return true
}

func (l *ecsLine) addRequestFields(f *RequestFields) {
	l.optional("service.target.name", f.Service)
	l.endpoint(f.Endpoint)
	l.optional("http.request.id", f.RequestID)
	l.optional("caddy.uuid", f.UUID)
	l.AppendString(`,"edge.attempts":`)
	l.AppendInt(int64(f.Attempts))
	l.AppendString(`,"edge.held_ms":`)
	l.AppendFloat(milliseconds(f.Held), 64)
	l.AppendString(`,"edge.upstream_ms":`)
	l.AppendFloat(milliseconds(f.Upstream), 64)
}

func (l *ecsLine) endpoint(address string) {
	l.optional("destination.address", address)
	if ip, port, err := net.SplitHostPort(address); err == nil && net.ParseIP(ip) != nil {
		l.optional("destination.ip", ip)
		l.port("destination.port", port)
	}
}

func (l *ecsLine) addRequest(r caddyhttp.LoggableHTTPRequest) {
	ip, port, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		ip, port = r.RemoteAddr, ""
	}
	l.optional("source.ip", ip)
	l.port("source.port", port)
	client, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	l.optional("client.ip", client)
	l.optional("http.version", strings.TrimPrefix(r.Proto, "HTTP/"))
	l.optional("http.request.method", r.Method)
	l.url(r.Host, redact.URI(r.RequestURI), r.TLS != nil)
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
		l.text(strings.Join(safe, ", "))
	}
	if r.TLS != nil {
		l.addTLS(r.TLS)
	}
}

// headerKey writes the name of the field for a header: in lower case.
func (l *ecsLine) headerKey(name string) {
	if hasEscapes(name) || strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) { // no server takes such a name
		l.key("caddy.request.headers." + strings.ToLower(name))
		return
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

func (l *ecsLine) url(host, uri string, isTLS bool) {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	if strings.Contains(name, ":") && !strings.HasPrefix(name, "[") {
		name = "[" + name + "]"
	}
	l.optional("url.domain", name)
	l.port("url.port", port)
	l.optional("url.original", uri)
	path, query, _ := strings.Cut(uri, "?")
	l.optional("url.path", path)
	l.optional("url.query", query)
	scheme := "http"
	if isTLS {
		scheme = "https"
	}
	l.optional("url.scheme", scheme)
}

func (l *ecsLine) addTLS(state *tls.ConnectionState) {
	l.AppendString(`,"tls.version_protocol":"tls","tls.version":`)
	l.text(strings.TrimPrefix(tls.VersionName(state.Version), "TLS "))
	l.AppendString(`,"tls.cipher":`)
	l.text(tls.CipherSuiteName(state.CipherSuite))
	l.AppendString(`,"tls.resumed":`)
	l.AppendBool(state.DidResume)
	l.optional("tls.next_protocol", state.NegotiatedProtocol)
	l.optional("tls.client.server_name", state.ServerName)
}

// begin writes the fields with which each entry begins, in the order of the specification of ECS logging.
func (l jsonLine) begin(entry zapcore.Entry) {
	l.AppendString(`{"@timestamp":"`)
	l.AppendTime(entry.Time.UTC(), "2006-01-02T15:04:05.000Z07:00")
	l.AppendString(`","log.level":`)
	l.text(entry.Level.String())
	l.AppendString(`,"message":`)
	l.text(entry.Message)
	l.AppendString(`,"ecs.version":"` + ECSVersion + `","service.name":"edge","service.type":"caddy","event.kind":"event"`)
}

// optional writes a field unless its value is "".
func (l jsonLine) optional(name, value string) {
	if value != "" {
		l.key(name)
		l.text(value)
	}
}

func (l jsonLine) port(name, port string) {
	if n, err := strconv.Atoi(port); err == nil {
		l.key(name)
		l.AppendInt(int64(n))
	}
}

// ownKey writes the name of a field that the schema does not have.
func (l jsonLine) ownKey(name string) { l.key("caddy." + name) }
