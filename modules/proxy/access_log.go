package proxy

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/tunnel"
)

// accessLogEntry is the access log's entry for a socket, written when the socket is closed. It has only strings, because there
// may be thousands of them. A nil entry is not written.
type accessLogEntry struct {
	log     *zap.Logger
	loggers []string // names below http.log.access; "" is http.log.access itself

	remoteIP, remotePort, clientIP string
	proto, method, host, uri       string
	userAgent, userID              string
	service, endpoint              string
	requestID, traceID             string
	times                          phaseTimes
}

// newAccessLogEntry returns the entry for a request, or nil if the server does not log the request.
func (x *exchange) newAccessLogEntry(r *http.Request, e *registry.Endpoint) *accessLogEntry {
	loggers := accessLoggers(r)
	if len(loggers) == 0 {
		return nil
	}
	logEntry := &accessLogEntry{
		log: x.app.AccessLog(), loggers: loggers, proto: r.Proto, method: r.Method, host: r.Host, uri: r.RequestURI,
		userAgent: r.UserAgent(), service: x.Service, endpoint: e.Address(), requestID: x.requestID, traceID: x.traceID(), times: x.times,
	}
	logEntry.remoteIP, logEntry.remotePort, _ = net.SplitHostPort(r.RemoteAddr)
	logEntry.clientIP, _ = caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		logEntry.userID, _ = repl.GetString("http.auth.user.id")
	}
	return logEntry
}

// write writes the entry, with the fields of Caddy's own entries and those that only a socket has.
func (n *accessLogEntry) write(r tunnel.Report) {
	if n == nil {
		return
	}
	fields := n.times.logFields()
	fields.Service, fields.Endpoint, fields.RequestID = n.service, n.endpoint, n.requestID
	for _, name := range n.loggers {
		c := n.log.Named(name).Check(zapcore.InfoLevel, "handled request")
		if c == nil {
			continue
		}
		c.Write(
			zap.Object("request", n),
			zap.Int64("bytes_read", r.FromClient), zap.String("user_id", n.userID), zap.Duration("duration", r.Duration),
			zap.Int64("size", r.FromEndpoint), zap.Int("status", http.StatusSwitchingProtocols),
			fields.Field(), zap.String("traceID", n.traceID),
			zap.String("closed_by", r.ClosedBy), zap.String("close_reason", r.Reason),
		)
	}
}

// MarshalLogObject writes the request as Caddy does, with User-Agent as the only header.
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

// accessLoggers returns the names of the access logs for a request, by the server's configuration; none if the request is not
// logged. Caddy applies the same rules, but does not export them (shouldLogRequest and wrapLogger).
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
	names, isMapped := loggersOfHost(server.Logs.LoggerNames, host)
	if !isMapped {
		matchesHost := func(pattern string) bool { return certmagic.MatchWildcard(host, pattern) }
		if server.Logs.SkipUnmappedHosts || slices.ContainsFunc(server.Logs.SkipHosts, matchesHost) {
			return nil
		}
		names = []string{server.Logs.DefaultLoggerName}
	}
	if override, ok := caddyhttp.GetVar(r.Context(), caddyhttp.AccessLoggerNameVarKey).([]any); ok {
		names = make([]string, len(override))
		for i, name := range override {
			names[i], _ = name.(string)
		}
	}
	return names
}

// loggersOfHost looks up a host, then the host with its labels replaced by asterisks from the left.
func loggersOfHost(names map[string]caddyhttp.StringArray, host string) (loggers []string, ok bool) {
	labels := strings.Split(host, ".")
	loggers, ok = names[host]
	for i := 0; !ok && i < len(labels); i++ {
		labels[i] = "*"
		loggers, ok = names[strings.Join(labels, ".")]
	}
	return loggers, ok
}
