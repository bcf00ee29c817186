package affinity

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/engineio"
	"github.com/theworklabs/edge/internal/registry"
)

// The kinds of affinity.
const (
	SocketIO = "socketio" // by the Engine.IO session, which is learned from the response that begins it
	Cookie   = "cookie"   // by a cookie that names the endpoint
)

// CheckKinds returns an error if a list has an unknown kind, or a kind twice.
func CheckKinds(kinds []string) error {
	for i, kind := range kinds {
		switch {
		case kind != SocketIO && kind != Cookie:
			return fmt.Errorf("affinity %q: want socketio or cookie", kind)
		case slices.Contains(kinds[:i], kind):
			return fmt.Errorf("affinity %s is given twice", kind)
		}
	}
	return nil
}

// Options configures a [Binder].
type Options struct {
	Service *registry.Service

	// Sessions are the sessions whose handshakes the edge has seen. Without it, sessions are ignored.
	Sessions *engineio.Table
	// Adopted are the sessions whose handshakes the edge has not seen. It is required with Sessions.
	Adopted *engineio.Table

	// Key returns the key that cookies are signed with. Without it, there are no cookies.
	Key func() []byte
	// WaitForSync blocks during the initial sync, or until the context ends. It is required with Key.
	WaitForSync func(context.Context)
}

// Binder keeps the requests of one client on one endpoint of a service. It is safe for concurrent use. A nil Binder binds
// nothing.
type Binder struct {
	service     string
	sessions    *engineio.Table
	adopted     *engineio.Table
	cookies     *cookies // nil: no cookies
	waitForSync func(context.Context)
}

// New returns the binder of a service.
func New(o Options) *Binder {
	b := &Binder{service: o.Service.Name(), sessions: o.Sessions, adopted: o.Adopted, waitForSync: o.WaitForSync}
	if o.Key != nil {
		b.cookies = newCookies(o.Service, o.Key)
	}
	return b
}

// Binding ties one request to an endpoint.
type Binding struct {
	SessionEndpoint string // identity of the endpoint that has the request's session; "" if unknown
	CookieEndpoint  string // identity of the endpoint that the request's cookie names; "" if unknown

	query engineio.Query
}

// Bind looks up the binding of a request. A request whose cookie names no known endpoint waits for the initial sync.
func (b *Binder) Bind(req *http.Request) (binding Binding) {
	if b == nil {
		return binding
	}
	if b.sessions != nil {
		if binding.query = engineio.Parse(req.URL.RawQuery); binding.query.SID != "" {
			binding.SessionEndpoint = b.endpointOfSession(binding.query.SID)
		}
	}
	if b.cookies != nil {
		var isKnown bool
		if binding.CookieEndpoint, isKnown = b.cookies.endpoint(req); !isKnown {
			b.waitForSync(req.Context())
			binding.CookieEndpoint, _ = b.cookies.endpoint(req)
		}
	}
	return binding
}

// Request returns the request to send. If the response begins a session, it is a copy without Accept-Encoding, so that the
// edge can read the session from the body. Otherwise it is req.
func (b Binding) Request(req *http.Request) *http.Request {
	if !b.query.IsHandshake() || len(req.Header["Accept-Encoding"]) == 0 {
		return req
	}
	plain := *req
	plain.Header = req.Header.Clone()
	plain.Header.Del("Accept-Encoding")
	return &plain
}

// endpointOfSession returns the identity of the endpoint that has a session; "" if unknown.
func (b *Binder) endpointOfSession(sid string) string {
	if id, ok := b.sessions.Lookup(b.service, sid); ok {
		return id
	}
	id, _ := b.adopted.Lookup(b.service, sid)
	return id
}

// HandleResponse learns the session of a response of the endpoint with this identity. It sets the cookie if the client has
// none that names the endpoint. The body of a response that begins a session is replaced by one with the same bytes.
func (b *Binder) HandleResponse(req *http.Request, binding Binding, endpoint string, resp *http.Response) {
	if b == nil {
		return
	}
	if b.sessions != nil && binding.query.IsHandshake() && resp.StatusCode == http.StatusOK && hasEngineIOContentType(resp) {
		b.learn(endpoint, resp)
	}
	if b.sessions != nil && binding.query.SID != "" {
		if !hasSession(binding.query, resp) {
			// The client's previous session has ended. Its next session may have begun on another endpoint, and have set the cookie.
			return
		}
		if binding.SessionEndpoint == "" {
			b.adopted.Learn(b.service, binding.query.SID, endpoint, engineio.DefaultLifetime)
		}
	}
	// No cookie for the endpoint of a session: it may be draining, and the client's other requests should not go there.
	if b.cookies != nil && binding.SessionEndpoint != endpoint && !b.cookies.service.IsSameEndpoint(binding.CookieEndpoint, endpoint) {
		b.cookies.set(resp.Header, endpoint, isSecure(req))
	}
}

// hasSession reports whether the response to a request with a sid shows that the endpoint has the session. An endpoint that
// does not have it responds with 400.
func hasSession(q engineio.Query, resp *http.Response) bool {
	switch q.Transport {
	case engineio.Polling:
		return resp.StatusCode == http.StatusOK && hasEngineIOContentType(resp)
	case engineio.WebSocket:
		return resp.StatusCode == http.StatusSwitchingProtocols
	}
	return false
}

// hasEngineIOContentType reports whether the response has a content type that Engine.IO sends. Others must not be read ahead:
// an event stream, for example, would never end.
func hasEngineIOContentType(resp *http.Response) bool {
	mediaType, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	switch strings.ToLower(strings.TrimSpace(mediaType)) {
	case "", "text/plain", "application/octet-stream", "text/javascript", "application/javascript":
		return true
	}
	return false
}

// learn reads the session that a response begins, before the client can use it, and puts the bytes back.
//
// A server may compress the handshake although the request has no Accept-Encoding. Then the edge forwards the response
// unread, and adopts the session when an endpoint accepts a later request of it.
func (b *Binder) learn(endpoint string, resp *http.Response) {
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, engineio.MaxBody))
	rest := resp.Body
	if err != nil {
		rest = errBody{rest, err}
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rest), resp.Body}
	handshake, err := engineio.ReadHandshake(head)
	if err == nil && b.endpointOfSession(handshake.SID) == "" { // a known session stays on its endpoint
		b.sessions.Learn(b.service, handshake.SID, endpoint, handshake.Lifetime())
	}
}

// errBody is a body that can't be read any further.
type errBody struct {
	io.Closer
	err error
}

// Read returns the error.
func (b errBody) Read([]byte) (int, error) { return 0, b.err }

// isSecure reports whether the client's connection uses TLS, to the edge or to a trusted proxy in front of it.
func isSecure(req *http.Request) bool {
	return req.TLS != nil || req.Header.Get("X-Forwarded-Proto") == "https" // which reverse_proxy has set
}
