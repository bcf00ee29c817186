package demo

import (
	_ "embed"
	"io"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

//go:embed corteza/index.html
var cortezaPage []byte

// statusPeriod is how often the server sends a status to each WebSocket.
const statusPeriod = 5 * time.Second

// corteza is the CRM server.
type corteza struct {
	name string
	log  func(server, event string)
}

func newCorteza(name string, log func(server, event string)) app {
	c := &corteza{name, log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", c.index)
	mux.HandleFunc("HEAD /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusMethodNotAllowed) // as Corteza does, so health checks must use GET
	})
	mux.HandleFunc("GET /healthcheck", c.health)
	mux.HandleFunc("GET /api/websocket", c.serveWebSocket)
	return app{service: "corteza-server:80", name: name, handler: mux}
}

func (c *corteza) index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(cortezaPage)
}

// health sends the line by which an edge knows a server that is ready from one that answers 200 while it boots.
func (c *corteza) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "PASS Primary store\n")
}

// serveWebSocket sends a status every five seconds and echoes each message.
func (c *corteza) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	// Any origin may connect, as with the sockets of BigCapital: there are no cookies that another site could use.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	c.log(c.name, "socket connected")
	defer c.log(c.name, "socket closed")
	newWebSocketSession(c.name, conn).serve(r.Context())
}
