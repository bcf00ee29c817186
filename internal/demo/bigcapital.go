package demo

import (
	"context"
	"net/http"
	"time"

	"github.com/theworklabs/edge/internal/demo/socketio"
)

// tickPeriod is how often the live page hears of its server.
const tickPeriod = time.Second

// bigCapital is one API server.
type bigCapital struct {
	name    string
	ledger  *ledger
	log     func(server, event string)
	sockets *socketio.Server
}

func newBigCapital(name string, books *ledger, log func(server, event string)) app {
	b := &bigCapital{name: name, ledger: books, log: log}
	b.sockets = b.newSockets()
	return app{
		service:     "bigcapital-server:3000",
		name:        name,
		handler:     b.routes(),
		run:         b.run,
		idleTimeout: 5 * time.Second, // Node's: an edge that keeps connections longer meets resets, here too
	}
}

func (b *bigCapital) routes() http.Handler {
	mux := http.NewServeMux()
	healthy := func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	}
	mux.HandleFunc("GET /api/system_db", healthy) // the path of the software
	mux.HandleFunc("GET /api/health", healthy)    // and that of its documentation
	mux.HandleFunc("GET /api/accounts", b.listAccounts)
	mux.HandleFunc("GET /api/invoices", b.listInvoices)
	mux.HandleFunc("POST /api/invoices", b.postInvoice)
	mux.HandleFunc("GET /api/events", b.streamEvents)
	mux.Handle("/socket/", b.sockets) // likewise
	mux.Handle("/socket.io/", b.sockets)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, http.StatusNotFound, "Cannot "+r.Method+" "+r.URL.Path)
	})
	return mux
}

// run ticks until ctx ends, and ends the sockets.
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
