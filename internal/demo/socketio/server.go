// Package socketio is a small Socket.IO server: Engine.IO 4 over polling and WebSocket, and Socket.IO 5 packets, text only, in
// the default namespace.
//
// It serves the demo's live page and real clients of Socket.IO 3 and 4. It rejects what it does not implement with the
// protocol's own errors: binary packets, other namespaces, JSONP, older protocol versions (as the original server does by
// default), and connection state recovery.
//
// # Why not a library
//
// github.com/googollee/go-socket.io implements only Engine.IO 3 and is no longer maintained. github.com/zishang520/socket.io
// (MIT) was tried at v3.0.6 in November 2026, behind the interface of this package. It serves real clients of
// Socket.IO 2 and 4, over polling, WebSocket and the upgrade between them. It was not adopted, because
//   - it is 17,000 lines and adds nine modules to go.mod. One of them, webtransport-go, builds only with certain versions of
//     quic-go, so the demo would limit the version with which the edge serves HTTP/3;
//   - its Close sends WebSockets no close frame, lets later handshakes through, and does not wait for its goroutines;
//   - it limits neither the number of sessions nor what it queues for a client that does not read;
//   - a session goes on after packets that break the protocol.
package socketio

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Options are the limits of a server and the functions that it calls. A number that is zero has its default. Any function
// may be nil. The server calls them from several goroutines at once. They must not block, since a session waits for them.
type Options struct {
	PingInterval   time.Duration // from a pong to the next ping; 25 s
	PingTimeout    time.Duration // how long the server waits for a pong before it ends the session; 20 s
	UpgradeTimeout time.Duration // for each step of an upgrade to WebSocket; 10 s
	MaxPayload     int64         // bytes in the body of a request or in a WebSocket message; 1,000,000
	MaxSessions    int           // the server answers further handshakes with 503; 1,000

	// Connected is called when a client has connected to the namespace.
	Connected func(*Socket)
	// Upgraded is called when a session has moved from polling to WebSocket.
	Upgraded func()
	// Received is called for a client's event. Its result is sent to the client if that asked for an acknowledgement.
	Received func(socket *Socket, event string, arguments []json.RawMessage) []any
	// Disconnected is called once for each socket that ends. If a socket ends while it connects, it may be called before
	// Connected.
	Disconnected func(*Socket)
}

func (o Options) withDefaults() Options {
	o.PingInterval = cmp.Or(o.PingInterval, 25*time.Second)
	o.PingTimeout = cmp.Or(o.PingTimeout, 20*time.Second)
	o.UpgradeTimeout = cmp.Or(o.UpgradeTimeout, 10*time.Second)
	o.MaxPayload = cmp.Or(o.MaxPayload, 1_000_000)
	o.MaxSessions = cmp.Or(o.MaxSessions, 1_000)
	if o.Connected == nil {
		o.Connected = func(*Socket) {}
	}
	if o.Upgraded == nil {
		o.Upgraded = func() {}
	}
	if o.Received == nil {
		o.Received = func(*Socket, string, []json.RawMessage) []any { return nil }
	}
	if o.Disconnected == nil {
		o.Disconnected = func(*Socket) {}
	}
	return o
}

// Server holds the sessions of one server process. It serves the path that it is mounted at, which ends in a slash for clients:
// "/socket.io/". It is safe for concurrent use.
type Server struct {
	options Options
	ctx     context.Context // the parent of each session's context
	cancel  context.CancelFunc
	running sync.WaitGroup // one per session

	mu       sync.Mutex
	closed   bool
	sessions map[string]*session
}

// New returns a server that is ready for requests. The caller must call Close.
func New(o Options) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{options: o.withDefaults(), ctx: ctx, cancel: cancel, sessions: make(map[string]*session)}
}

// ServeHTTP serves handshakes, polls, posted payloads and WebSocket requests. For a WebSocket it returns when the session
// has ended.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	t := transport(query.Get("transport"))
	upgrade := strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
	switch sid := query.Get("sid"); {
	case t != polling && t != webSocket:
		unknownTransport.write(w)
	case sid != "":
		s.resume(w, r, sid, t, upgrade)
	case r.Method != http.MethodGet:
		badHandshakeMethod.write(w)
	case upgrade != (t == webSocket):
		badRequest.write(w)
	case query.Get("EIO") != "4":
		unsupportedProtocol.write(w)
	default:
		s.handshake(w, r, t)
	}
}

// Broadcast sends an event with one argument to every socket. If the argument has no JSON form, it returns an error and
// sends nothing.
func (s *Server) Broadcast(event string, argument any) error {
	m, err := newEvent(event, argument)
	if err != nil {
		return err
	}
	for _, session := range s.all() {
		session.send(m)
	}
	return nil
}

// Connected returns the number of sockets.
func (s *Server) Connected() int {
	n := 0
	for _, session := range s.all() {
		if session.isConnected() {
			n++
		}
	}
	return n
}

// Close ends every session, refuses new ones, and waits for the goroutines of the sessions. Requests that it is serving
// return soon after; the caller waits for those.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.running.Wait()
}

// resume serves a request of an existing session.
func (s *Server) resume(w http.ResponseWriter, r *http.Request, sid string, t transport, upgrade bool) {
	session := s.find(sid)
	switch {
	case session == nil:
		unknownSession.write(w)
	case t == webSocket && upgrade:
		session.serveUpgrade(w, r)
	case t == webSocket || upgrade || session.currentTransport() != polling:
		badRequest.write(w)
	case r.Method == http.MethodGet:
		session.servePoll(w, r)
	case r.Method == http.MethodPost:
		session.servePost(w, r)
	default:
		badRequest.write(w)
	}
}

// add adds a session and starts its goroutine. It returns false if the server is closed or full.
func (s *Server) add(session *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.sessions) >= s.options.MaxSessions {
		return false
	}
	s.sessions[session.id] = session
	// Under the lock, and after the check of closed: nothing may be added to running once Close waits for it.
	s.running.Go(session.run)
	return true
}

func (s *Server) remove(session *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, session.id)
}

// find returns nil if the session is unknown or has ended.
func (s *Server) find(id string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	session := s.sessions[id]
	if session == nil || session.ctx.Err() != nil {
		return nil
	}
	return session
}

func (s *Server) all() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*session, 0, len(s.sessions))
	for _, session := range s.sessions {
		all = append(all, session)
	}
	return all
}

// protocolError is an Engine.IO error. Clients and edges act on the code, so the numbers are those of the protocol.
type protocolError struct {
	status  int
	Code    int    `json:"code"`
	Message string `json:"message"`
}

var (
	unknownTransport    = protocolError{http.StatusBadRequest, 0, "Transport unknown"}
	unknownSession      = protocolError{http.StatusBadRequest, 1, "Session ID unknown"}
	badHandshakeMethod  = protocolError{http.StatusBadRequest, 2, "Bad handshake method"}
	badRequest          = protocolError{http.StatusBadRequest, 3, "Bad request"}
	unsupportedProtocol = protocolError{http.StatusBadRequest, 5, "Unsupported protocol version"}
	payloadTooLarge     = protocolError{http.StatusRequestEntityTooLarge, 3, "Payload too large"}
	tooManySessions     = protocolError{http.StatusServiceUnavailable, 4, "Too many sessions"}
)

func (e protocolError) write(w http.ResponseWriter) {
	body, _ := json.Marshal(e) // cannot fail for a number and a string
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(e.status)
	_, _ = w.Write(body)
}
