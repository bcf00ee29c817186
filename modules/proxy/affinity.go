package proxy

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

// The kinds of affinity: what keeps a client's requests on one endpoint.
const (
	affinitySocketIO = "socketio" // the session of Engine.IO, learned from the answer that begins it; then the cookie
	affinityCookie   = "cookie"   // a cookie that names the endpoint
)

// checkAffinity returns what is wrong with a list of kinds, or nil.
func checkAffinity(kinds []string) error {
	for i, kind := range kinds {
		switch {
		case kind != affinitySocketIO && kind != affinityCookie:
			return fmt.Errorf("affinity %q: there are socketio and cookie", kind)
		case slices.Contains(kinds[:i], kind):
			return fmt.Errorf("affinity %s is given twice", kind)
		}
	}
	return nil
}

// affinity keeps requests that belong together on one endpoint of a service. A nil one keeps nothing together.
type affinity struct {
	service     string
	sessions    *engineio.Table // nil: not socketio
	adopted     *engineio.Table // sessions whose beginning was not seen
	cookies     *cookies        // nil: no cookie
	waitForSync func(context.Context)
}

// binding is what ties one request to an endpoint.
type binding struct {
	query           engineio.Query
	sessionEndpoint string // identity of the endpoint that holds its session
	cookieEndpoint  string // identity of the endpoint that its cookie names
}

// bindingFor returns what ties a request.
func (a *affinity) bindingFor(req *http.Request) (b binding) {
	if a == nil {
		return b
	}
	if a.sessions != nil {
		if b.query = engineio.Parse(req.URL.RawQuery); b.query.SID != "" {
			b.sessionEndpoint = a.endpointOfSession(b.query.SID)
		}
	}
	if a.cookies != nil {
		var known bool
		if b.cookieEndpoint, known = a.cookies.endpoint(req); !known {
			a.waitForSync(req.Context())
			b.cookieEndpoint, _ = a.cookies.endpoint(req)
		}
	}
	return b
}

// endpointOfSession returns the identity of the endpoint that a session is on, as far as it is known.
func (a *affinity) endpointOfSession(sid string) string {
	if id, ok := a.sessions.Lookup(a.service, sid); ok {
		return id
	}
	id, _ := a.adopted.Lookup(a.service, sid)
	return id
}

// handleResponse learns from an answer, and sets the cookie if the client has none that leads where it went.
func (a *affinity) handleResponse(req *http.Request, b binding, claim registry.Claim, resp *http.Response) {
	if a == nil {
		return
	}
	id := claim.Endpoint().ID()
	if a.sessions != nil && b.query.IsHandshake() && resp.StatusCode == http.StatusOK && hasEngineIOContentType(resp) {
		a.learn(id, resp)
	}
	if a.sessions != nil && b.query.SID != "" {
		if !knowsSession(b.query, resp) {
			// The client's last session, which has ended. Its next one may have begun elsewhere meanwhile, and have set the cookie.
			return
		}
		if b.sessionEndpoint == "" {
			a.adopted.Learn(a.service, b.query.SID, id, engineio.DefaultLifetime) // it began before the edge did
		}
	}
	// Where a session has brought the request need not be where others of this client should go: it may be draining.
	if a.cookies != nil && b.sessionEndpoint != id && !a.cookies.service.IsSameEndpoint(b.cookieEndpoint, id) {
		a.cookies.set(resp.Header, id, isSecure(req))
	}
}

// knowsSession reports whether the answer to a request with a sid tells that the endpoint knows the session: one that does
// not answers with 400.
func knowsSession(q engineio.Query, resp *http.Response) bool {
	switch q.Transport {
	case engineio.Polling:
		return resp.StatusCode == http.StatusOK && hasEngineIOContentType(resp)
	case engineio.WebSocket:
		return resp.StatusCode == http.StatusSwitchingProtocols
	}
	return false
}

// hasEngineIOContentType reports whether the answer is of a kind that Engine.IO answers with; a stream, say, would never end.
func hasEngineIOContentType(resp *http.Response) bool {
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "", "text/plain", "application/octet-stream", "text/javascript", "application/javascript":
		return true
	}
	return false
}

// learn reads the session that an answer begins, before the client can use it. What was read is put back.
func (a *affinity) learn(id string, resp *http.Response) {
	head, err := io.ReadAll(io.LimitReader(resp.Body, engineio.MaxBody))
	rest := resp.Body
	if err != nil {
		rest = errBody{rest, err}
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rest), resp.Body}
	h, err := engineio.ReadHandshake(resp.Header.Get("Content-Encoding"), head)
	if err == nil && a.endpointOfSession(h.SID) == "" { // one that is known belongs to whom it belongs to
		a.sessions.Learn(a.service, h.SID, id, h.Lifetime())
	}
}

// errBody is a body that could not be read on.
type errBody struct {
	io.Closer
	err error
}

// Read returns why.
func (f errBody) Read([]byte) (int, error) { return 0, f.err }

// isSecure reports whether the client came over TLS, to us or to a trusted proxy before us.
func isSecure(req *http.Request) bool {
	return req.TLS != nil || req.Header.Get("X-Forwarded-Proto") == "https" // which reverse_proxy has set
}
