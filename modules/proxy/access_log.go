package proxy

import (
	"net"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/tunnel"
)

// accessLogEntry is the access log's line about a socket, written when that ends. It keeps strings and no more, because there may
// be thousands of them. A nil entry is not written.
type accessLogEntry struct {
	log     *zap.Logger
	loggers []string // names below http.log.access; "" is that one

	remoteIP, remotePort, clientIP string
	proto, method, host, uri       string
	userAgent, userID              string
	service, endpoint              string
}

// newAccessLogEntry returns the line for a request, or nil if the server does not log it.
func (t *Transport) newAccessLogEntry(to *hijacker, e *registry.Endpoint) *accessLogEntry {
	r := to.r
	loggers := accessLoggers(r)
	if len(loggers) == 0 {
		return nil
	}
	n := &accessLogEntry{
		log: t.app.AccessLog(), loggers: loggers, proto: r.Proto, method: r.Method, host: r.Host, uri: r.RequestURI,
		userAgent: r.UserAgent(), service: t.Service, endpoint: e.Address(),
	}
	n.remoteIP, n.remotePort, _ = net.SplitHostPort(r.RemoteAddr)
	n.clientIP, _ = caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		n.userID, _ = repl.GetString("http.auth.user.id")
	}
	return n
}

// write writes the line, in the fields of Caddy's own and with what only a socket has.
func (n *accessLogEntry) write(r tunnel.Report) {
	if n == nil {
		return
	}
	for _, name := range n.loggers {
		c := n.log.Named(name).Check(zapcore.InfoLevel, "handled request")
		if c == nil {
			continue
		}
		c.Write(
			zap.Object("request", n),
			zap.Int64("bytes_read", r.FromClient), zap.String("user_id", n.userID), zap.Duration("duration", r.Duration),
			zap.Int64("size", r.FromEndpoint), zap.Int("status", http.StatusSwitchingProtocols),
			zap.String("service", n.service), zap.String("endpoint", n.endpoint),
			zap.String("closed_by", r.ClosedBy), zap.String("close_reason", r.Reason),
		)
	}
}

// MarshalLogObject writes the request as Caddy does, with the one header that tells clients apart.
func (n *accessLogEntry) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("remote_ip", n.remoteIP)
	enc.AddString("remote_port", n.remotePort)
	enc.AddString("client_ip", n.clientIP)
	enc.AddString("proto", n.proto)
	enc.AddString("method", n.method)
	enc.AddString("host", n.host)
	enc.AddString("uri", n.uri)
	return enc.AddObject("headers", caddyhttp.LoggableHTTPHeader{Header: http.Header{"User-Agent": {n.userAgent}}})
}

// accessLoggers returns the names of the access logs that a request goes to, by the server's configuration; none if it is
// not logged. Caddy has the same rules, but keeps them to itself.
func accessLoggers(r *http.Request) []string {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.Logs == nil {
		return nil
	}
	if skip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.LogSkipVar).(bool); skip {
		return nil
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	host = strings.ToLower(host)
	named, mapped := namedLoggers(server.Logs.LoggerNames, host)
	switch {
	case !mapped && (server.Logs.SkipUnmappedHosts || matchesAny(server.Logs.SkipHosts, host)):
		return nil
	case !mapped:
		named = []string{server.Logs.DefaultLoggerName}
	}
	if names, ok := caddyhttp.GetVar(r.Context(), caddyhttp.AccessLoggerNameVarKey).([]any); ok {
		named = make([]string, len(names))
		for i, name := range names {
			named[i], _ = name.(string)
		}
	}
	return named
}

// namedLoggers looks a host up: itself, then with its labels replaced by asterisks from the left.
func namedLoggers(names map[string]caddyhttp.StringArray, host string) (loggers []string, ok bool) {
	if loggers, ok := names[host]; ok {
		return loggers, true
	}
	labels := strings.Split(host, ".")
	for i := range labels {
		labels[i] = "*"
		if loggers, ok := names[strings.Join(labels, ".")]; ok {
			return loggers, true
		}
	}
	return nil, false
}

func matchesAny(patterns []string, host string) bool {
	for _, pattern := range patterns {
		if certmagic.MatchWildcard(host, pattern) {
			return true
		}
	}
	return false
}
