// Package socketio is a small Socket.IO server: Engine.IO 4 over polling and WebSocket, and Socket.IO 5 packets, text only, in the default namespace.
//
// It is there so that the demo can be tried with real clients. What it leaves out, it refuses in words
// of the protocol: binary packets, other namespaces, JSONP, older protocol versions, connection state recovery.
package socketio

import (
	"context"
	"net/http"
	"strings"
	"sync"
)

// Server keeps the sessions of one server process. It serves the path it is mounted at, which for
// clients ends in a slash: "/socket.io/". All its methods are safe for concurrent use.
type Server struct {
	options Options
	ctx     context.Context // every session's parent
	cancel  context.CancelFunc
	running sync.WaitGroup // one per session

	mu       sync.Mutex
	closed   bool
	sessions map[string]*session
}

// New returns a server that is ready for requests. Its user closes it.
func New(o Options) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{options: o.withDefaults(), ctx: ctx, cancel: cancel, sessions: make(map[string]*session)}
}

// ServeHTTP answers handshakes, polls, posted payloads and WebSocket requests. For a session over
// WebSocket it returns when the session has ended.
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

// Broadcast emits an event with one argument to every socket.
// It fails if the argument has no JSON form, and has then sent nothing.
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

// Connected returns how many sockets there are.
func (s *Server) Connected() int {
	n := 0
	for _, session := range s.all() {
		if session.isConnected() {
			n++
		}
	}
	return n
}

// Close ends every session, refuses new ones and waits for the sessions' goroutines. Requests that are
// being answered return soon after; whoever serves them waits for them.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.running.Wait()
}

// resume serves a request that names its session.
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
