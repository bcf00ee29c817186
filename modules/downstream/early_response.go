package downstream

import (
	"io"
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/modules/edge"
)

// requestBody is a request's body that knows whether all of it has been read, and drops what clients may not claim in trailers.
type requestBody struct {
	io.ReadCloser
	atEOF atomic.Bool
	onEOF func() // called at the end, when the trailers are there
}

// Read reads from the client.
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && b.atEOF.CompareAndSwap(false, true) {
		b.onEOF()
	}
	return n, err
}

// earlyResponseWriter sees to answers that begin before the body of their request has been read.
//
// net/http would first read up to 256 KiB of it, however slowly the client sends that or waits to be asked for it. And when it
// closes the connection then, a client that is still sending may be reset before it has read the answer.
type earlyResponseWriter struct {
	*caddyhttp.ResponseWriterWrapper
	body    *requestBody
	conn    *Conn
	started bool
}

// newEarlyResponseWriter returns what the answer to a request with a body is to be written to; nil if it has none.
func newEarlyResponseWriter(w http.ResponseWriter, r *http.Request, app *edge.App) *earlyResponseWriter {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil
	}
	b := &requestBody{ReadCloser: r.Body, onEOF: func() { removeSpoofable(r.Trailer, false, app) }}
	r.Body = b
	caddyhttp.SetVar(r.Context(), earlyWriterVar, true)
	conn := ConnOf(r)
	if conn != nil {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			conn = nil // then the answer waits for the body, as it would have
		}
	}
	return &earlyResponseWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, body: b, conn: conn}
}

// finish is called when the handlers are. An answer that has not begun is written by others, but with the same headers.
func (w *earlyResponseWriter) finish(r *http.Request) {
	w.start()
	caddyhttp.SetVar(r.Context(), earlyWriterVar, false)
}

// WriteHeader begins the answer.
func (w *earlyResponseWriter) WriteHeader(status int) {
	if status/100 != 1 || status == http.StatusSwitchingProtocols {
		w.start()
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

// Write begins the answer if it has not begun.
func (w *earlyResponseWriter) Write(p []byte) (int, error) {
	w.start()
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom begins the answer if it has not begun.
func (w *earlyResponseWriter) ReadFrom(r io.Reader) (int64, error) {
	w.start()
	return w.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError begins the answer if it has not begun.
func (w *earlyResponseWriter) FlushError() error {
	w.start()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// start has the connection closed after the answer if the body has not been read: what follows on it is not a request.
func (w *earlyResponseWriter) start() {
	if w.started {
		return
	}
	w.started = true
	h := w.Header()
	if blank := h["Content-Type"]; len(blank) == 1 && blank[0] == untypedMarker {
		h["Content-Type"] = nil
	}
	if w.conn != nil && !w.body.atEOF.Load() {
		h.Set("Connection", "close")
		w.conn.Linger()
	}
}

// untypedMarker stands in Content-Type for an application that names none, so that no handler on the way, such as `encode`, guesses
// one. The writer removes it again.
const untypedMarker = " "

// SuppressContentType has the answer to a request with a body have no Content-Type, which its application does not name.
func SuppressContentType(req *http.Request, answer http.Header) {
	if first, _ := caddyhttp.GetVar(req.Context(), earlyWriterVar).(bool); first {
		answer["Content-Type"] = []string{untypedMarker}
	}
}

// earlyWriterVar is the variable of a request whose answer goes through an earlyResponseWriter.
const earlyWriterVar = "edge.early_writer"

var _ http.ResponseWriter = (*earlyResponseWriter)(nil)
