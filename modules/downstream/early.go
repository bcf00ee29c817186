package downstream

import (
	"io"
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/modules/edge"
)

// body is a request's body that knows whether all of it has been read, and drops what clients may not claim in trailers.
type body struct {
	io.ReadCloser
	ended   atomic.Bool
	trailer func() // called at the end, when the trailers are there
}

// Read reads from the client.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && b.ended.CompareAndSwap(false, true) {
		b.trailer()
	}
	return n, err
}

// earlyWriter sees to answers that begin before the body of their request has been read.
//
// net/http would first read up to 256 KiB of it, however slowly the client sends that or waits to be asked for it. And when it
// closes the connection then, a client that is still sending may be reset before it has read the answer.
type earlyWriter struct {
	*caddyhttp.ResponseWriterWrapper
	body  *body
	conn  *Conn
	begun bool
}

// newEarlyWriter returns what the answer to a request with a body is to be written to; nil if it has none.
func newEarlyWriter(w http.ResponseWriter, r *http.Request, app *edge.App) *earlyWriter {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil
	}
	b := &body{ReadCloser: r.Body, trailer: func() { strip(r.Trailer, false, app) }}
	r.Body = b
	caddyhttp.SetVar(r.Context(), writerVar, true)
	conn := ConnOf(r)
	if conn != nil {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			conn = nil // then the answer waits for the body, as it would have
		}
	}
	return &earlyWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, body: b, conn: conn}
}

// done is called when the handlers are. An answer that has not begun is written by others, but with the same headers.
func (w *earlyWriter) done(r *http.Request) {
	w.begin()
	caddyhttp.SetVar(r.Context(), writerVar, false)
}

// WriteHeader begins the answer.
func (w *earlyWriter) WriteHeader(status int) {
	if status/100 != 1 || status == http.StatusSwitchingProtocols {
		w.begin()
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

// Write begins the answer if it has not begun.
func (w *earlyWriter) Write(p []byte) (int, error) {
	w.begin()
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom begins the answer if it has not begun.
func (w *earlyWriter) ReadFrom(r io.Reader) (int64, error) {
	w.begin()
	return w.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError begins the answer if it has not begun.
func (w *earlyWriter) FlushError() error {
	w.begin()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// begin has the connection closed after the answer if the body has not been read: what follows on it is not a request.
func (w *earlyWriter) begin() {
	if w.begun {
		return
	}
	w.begun = true
	h := w.Header()
	if blank := h["Content-Type"]; len(blank) == 1 && blank[0] == untyped {
		h["Content-Type"] = nil
	}
	if w.conn != nil && !w.body.ended.Load() {
		h.Set("Connection", "close")
		w.conn.Linger()
	}
}

// untyped stands in Content-Type for an application that names none, so that no handler on the way, such as `encode`, guesses
// one. The writer removes it again.
const untyped = " "

// KeepUntyped has the answer to a request with a body have no Content-Type, which its application does not name.
func KeepUntyped(req *http.Request, answer http.Header) {
	if first, _ := caddyhttp.GetVar(req.Context(), writerVar).(bool); first {
		answer["Content-Type"] = []string{untyped}
	}
}

// writerVar is the variable of a request whose answer goes through an earlyWriter.
const writerVar = "edge.early_writer"

var _ http.ResponseWriter = (*earlyWriter)(nil)
