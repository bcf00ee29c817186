package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/theworklabs/edge/internal/demo/socketio"
)

// tickPeriod is how often a server sends an event to its sockets and event streams.
const tickPeriod = time.Second

// bigCapital is one API server.
type bigCapital struct {
	name    string
	ledger  *ledger
	log     func(server, event string)
	sockets *socketio.Server
}

func newBigCapital(name string, shared *ledger, log func(server, event string)) app {
	b := &bigCapital{name: name, ledger: shared, log: log}
	b.sockets = b.newSockets()
	return app{
		service:     "bigcapital-server:3000",
		name:        name,
		handler:     b.routes(),
		run:         b.run,
		idleTimeout: 5 * time.Second, // Node's default: an edge that keeps idle connections longer gets resets
	}
}

func (b *bigCapital) routes() http.Handler {
	mux := http.NewServeMux()
	health := func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	}
	mux.HandleFunc("GET /api/system_db", health) // the path that BigCapital serves
	mux.HandleFunc("GET /api/health", health)    // the path that its documentation names
	mux.HandleFunc("GET /api/accounts", b.listAccounts)
	mux.HandleFunc("GET /api/invoices", b.listInvoices)
	mux.HandleFunc("POST /api/invoices", b.postInvoice)
	mux.HandleFunc("GET /api/events", b.streamEvents)
	mux.Handle("/socket/", b.sockets) // the path that BigCapital serves
	mux.Handle("/socket.io/", b.sockets)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, http.StatusNotFound, "Cannot "+r.Method+" "+r.URL.Path)
	})
	return mux
}

// run broadcasts ticks until ctx ends, and then closes the sockets.
func (b *bigCapital) run(ctx context.Context) {
	defer b.sockets.Close()
	ticker := time.NewTicker(tickPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			b.broadcastTick()
		}
	}
}

func (b *bigCapital) listAccounts(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		Server   string    `json:"server"`
		Accounts []account `json:"accounts"`
	}{b.name, b.ledger.chartOfAccounts()})
}

// pulseEvent is the data of one server-sent event.
type pulseEvent struct {
	Server string    `json:"server"`
	Time   time.Time `json:"time"`
}

// streamEvents sends a server-sent event at once and then one each second, until the client or the server closes the
// stream. They arrive one by one only if the edge flushes them.
func (b *bigCapital) streamEvents(w http.ResponseWriter, r *http.Request) {
	b.log(b.name, "event stream opened")
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	ticker := time.NewTicker(tickPeriod)
	defer ticker.Stop()
	flusher := http.NewResponseController(w)
	for id := 1; ; id++ {
		data, err := json.Marshal(pulseEvent{b.name, time.Now().UTC().Truncate(time.Millisecond)})
		if err != nil {
			panic(err) // impossible for a string and a time
		}
		if _, err := fmt.Fprintf(w, "id: %d\nevent: pulse\ndata: %s\n\n", id, data); err != nil {
			return
		}
		if err := flusher.Flush(); err != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}

// helloEvent is the first event that a socket gets.
type helloEvent struct {
	Server    string `json:"server"`
	Transport string `json:"transport"` // polling or websocket
}

// tickEvent is the event that all sockets of a server get each second.
type tickEvent struct {
	Server   string    `json:"server"`
	Time     time.Time `json:"time"`
	Visitors int       `json:"visitors"` // sockets on this server
}

// newSockets returns the server's Socket.IO server. Only this server knows its sessions, as in BigCapital, which has no
// adapter to share them.
func (b *bigCapital) newSockets() *socketio.Server {
	return socketio.New(socketio.Options{
		Connected: func(socket *socketio.Socket) {
			transport := socket.Transport()
			b.log(b.name, "socket connected over "+transport)
			b.logError(socket.Emit("hello", helloEvent{b.name, transport}))
		},
		Upgraded: func() { b.log(b.name, "socket moved to websocket") },
		Received: func(_ *socketio.Socket, event string, arguments []json.RawMessage) []any {
			if event != "echo" {
				return nil
			}
			echoed := make([]any, len(arguments))
			for i, argument := range arguments {
				echoed[i] = argument
			}
			return echoed
		},
		Disconnected: func(*socketio.Socket) { b.log(b.name, "socket closed") },
	})
}

func (b *bigCapital) broadcastTick() {
	now := time.Now().UTC().Truncate(time.Millisecond)
	b.logError(b.sockets.Broadcast("tick", tickEvent{b.name, now, b.sockets.Connected()}))
}

// logError logs the error of an event that could not be sent.
func (b *bigCapital) logError(err error) {
	if err != nil {
		b.log(b.name, err.Error())
	}
}

// writeJSON sends a JSON response. The body must have a JSON form.
func writeJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

// writeError sends an error response in the form of BigCapital's framework, NestJS.
func writeError(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]any{"statusCode": status, "message": message, "error": http.StatusText(status)})
}
