package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// direct is a request that edge_proxy sends itself. It does what reverse_proxy does, for less time and memory: reverse_proxy encodes each request
// for a line in the debug log, and sets about twenty placeholders. It handles all requests that nothing unusual is configured for, and that ask for
// nothing unusual: see isDirect.
type direct struct {
	*Handler
	req      *http.Request // that is sent
	exchange *exchange
	repl     *caddy.Replacer
	start    time.Time
	response *http.Response // nil: there is none yet
	latency  time.Duration  // until the head of the response
	duration time.Duration  // of all of it
}

// isDirect reports whether a request needs nothing of reverse_proxy: no other protocol (WebSockets over HTTP/2 and HTTP/3 are CONNECT), and no
// incremental forwarding (RFC 10036).
func isDirect(r *http.Request) bool {
	return r.Method != http.MethodConnect && len(r.Header["Upgrade"]) == 0 && len(r.Header["Incremental"]) == 0
}

// serveDirect sends the request to the service, and the response to the client.
func (h *Handler) serveDirect(w http.ResponseWriter, r *http.Request) error {
	d := &direct{Handler: h, repl: r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer), start: time.Now()}
	d.repl.Map(d.placeholder)
	d.req = d.prepare(r)
	x := h.transport.newExchange(d.req)
	d.exchange = x
	x.interim = func(code int, header http.Header) error { return sendInterim(w, code, header) }
	resp, err := x.run()
	x.end(resp, err)
	d.latency = time.Since(d.start)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			w.WriteHeader(statusClientClosed) // for the access log: the client is gone
			return nil
		}
		return caddyhttp.Error(statusOf(err), err)
	}
	d.response = resp
	d.respond(w)
	d.duration = time.Since(d.start)
	return nil
}

// prepare returns the request to send.
func (d *direct) prepare(r *http.Request) *http.Request {
	req := new(http.Request)
	*req = *r
	req.Header = d.requestHeader(r)
	req.Close = false
	attachTrailers(req, r)
	if req.ContentLength == 0 {
		req.Body = nil
	}
	if d.ops.request != nil {
		d.ops.request.ApplyToRequest(req)
	}
	return req
}

// requestHeader returns the headers of the request, without those that concern the client's connection only, and with those that tell the
// application of the client.
func (d *direct) requestHeader(r *http.Request) http.Header {
	var named []string // by the Connection header
	if len(r.Header["Connection"]) > 0 {
		named = tokens(r.Header["Connection"])
	}
	header := make(http.Header, len(r.Header)+5)
	for name, values := range r.Header {
		if isHopHeader(name) || len(named) > 0 && slices.Contains(named, name) {
			continue
		}
		if d.ops.request != nil {
			values = slices.Clone(values) // which header_up changes
		}
		header[name] = values
	}
	if te := r.Header["Te"]; len(te) > 0 && slices.Contains(tokens(te), "Trailers") {
		header["Te"] = []string{"trailers"}
	}
	if r.TLS != nil && !r.TLS.HandshakeComplete {
		header["Early-Data"] = []string{"1"} // RFC 8470
	}
	d.addForwarded(header, r)
	header["Via"] = append(slices.Clip(header["Via"]), via(r.ProtoMajor, r.ProtoMinor))
	return header
}

// addForwarded sets the headers X-Forwarded-* and X-Real-IP. What a trusted proxy has sent is kept, and extended.
func (d *direct) addForwarded(header http.Header, r *http.Request) {
	ctx := r.Context()
	isTrusted, _ := caddyhttp.GetVar(ctx, caddyhttp.TrustedProxyVarKey).(bool)
	client, _ := caddyhttp.GetVar(ctx, caddyhttp.ClientIPVarKey).(string)
	header["X-Real-Ip"] = []string{client}
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	isUnix := r.RemoteAddr == "@" // a client of a Unix socket has no address
	if err != nil && !(isUnix && isTrusted) {
		delete(header, "X-Forwarded-For")
		delete(header, "X-Forwarded-Proto")
		delete(header, "X-Forwarded-Host")
		return
	}
	peer, _, _ = strings.Cut(peer, "%")
	forwardedFor, proto, host := peer, "http", r.Host
	if r.TLS != nil {
		proto = "https"
	}
	if isTrusted {
		if prior := strings.Join(header["X-Forwarded-For"], ", "); prior != "" {
			forwardedFor = strings.TrimSuffix(prior+", "+peer, ", ")
		}
		proto, host = last(header["X-Forwarded-Proto"], proto), last(header["X-Forwarded-Host"], host)
	}
	setForwarded(header, "X-Forwarded-For", forwardedFor)
	setForwarded(header, "X-Forwarded-Proto", proto)
	setForwarded(header, "X-Forwarded-Host", host)
}

// setForwarded sets a header, unless a handler before has left it out, by a header without values.
func setForwarded(header http.Header, name, value string) {
	if values, isSet := header[name]; (!isSet || values != nil) && (value != "" || name == "X-Forwarded-Host") {
		header[name] = []string{value}
	}
}

// last returns the last of some values, or another one if that is empty.
func last(values []string, otherwise string) string {
	if len(values) > 0 && values[len(values)-1] != "" {
		return values[len(values)-1]
	}
	return otherwise
}

// isHopHeader reports whether a header is left out of requests and responses, as reverse_proxy does.
func isHopHeader(name string) bool {
	switch name {
	case "Alt-Svc", "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// tokens returns the canonical tokens of lists with commas between them.
func tokens(lists []string) (all []string) {
	for _, list := range lists {
		for token := range strings.SplitSeq(list, ",") {
			all = append(all, http.CanonicalHeaderKey(strings.TrimSpace(token)))
		}
	}
	return all
}

// via returns the value of the header Via.
func via(major, minor int) string {
	switch {
	case major == 1 && minor == 1:
		return "1.1 Caddy"
	case major == 2:
		return "2.0 Caddy"
	}
	return strconv.Itoa(major) + "." + strconv.Itoa(minor) + " Caddy"
}

// headerOps are the changes of headers that the configuration asks for.
type headerOps struct {
	request  *headers.HeaderOps
	response *headers.RespHeaderOps
}

// placeholder returns the value of a placeholder of reverse_proxy.
func (d *direct) placeholder(name string) (any, bool) {
	rest, ok := strings.CutPrefix(name, "http.reverse_proxy.")
	if !ok {
		return nil, false
	}
	milliseconds := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
	switch rest {
	case "upstream.address":
		return "tcp/" + d.upstream, true
	case "upstream.hostport":
		return d.upstream, true
	case "upstream.host":
		host, _, _ := net.SplitHostPort(d.upstream)
		return host, true
	case "upstream.port":
		_, port, _ := net.SplitHostPort(d.upstream)
		return port, true
	case "upstream.requests", "upstream.max_requests", "upstream.fails", "retries":
		return 0, true
	case "upstream.latency":
		return d.latency, true
	case "upstream.latency_ms":
		return milliseconds(d.latency), true
	case "duration", "upstream.duration":
		return d.duration, true
	case "duration_ms", "upstream.duration_ms":
		return milliseconds(d.duration), true
	}
	if d.response == nil {
		return nil, false
	}
	switch rest {
	case "status_code":
		return d.response.StatusCode, true
	case "status_text":
		return d.response.Status, true
	}
	if field, ok := strings.CutPrefix(rest, "header."); ok {
		if values, isSet := d.response.Header[http.CanonicalHeaderKey(field)]; isSet {
			return strings.Join(values, ","), true
		}
	}
	return nil, false
}

// logAborted notes that a response could not be sent to its end.
func (d *direct) logAborted(err error) {
	level := zapcore.WarnLevel
	if d.req.Context().Err() != nil || d.exchange.isLost {
		level = zapcore.DebugLevel // the client has left, or noteIncomplete has logged it
	}
	if c := d.log.Check(level, "aborting with incomplete response"); c != nil {
		c.Write(append(d.exchange.describe(d.exchange.endpoint), zap.Error(err))...)
	}
}
