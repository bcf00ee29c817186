package downstream

import (
	"io"
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/modules/edge"
)

// requestBody is the body of a request that records whether it was read to its end.
type requestBody struct {
	io.ReadCloser
	atEOF atomic.Bool
	onEOF func() // called at the end of the body, when the trailers have arrived
}

// Read reads from the client.
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && b.atEOF.CompareAndSwap(false, true) {
		b.onEOF()
	}
	return n, err
}

// earlyResponseWriter sends a response that begins before the body of its request has been read, without delay.
//
// net/http would first read up to 256 KiB of the body, even if the client sends it slowly or waits for 100 Continue. When it then
// closes the connection, a client that is still sending may get a reset before it has read the response.
type earlyResponseWriter struct {
	*caddyhttp.ResponseWriterWrapper
	body    *requestBody
	conn    *Conn
	started bool
}

// newEarlyResponseWriter returns the writer for the response to a request with a body; nil if the request has no body.
func newEarlyResponseWriter(w http.ResponseWriter, r *http.Request, app *edge.App) *earlyResponseWriter {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil
	}
	body := &requestBody{ReadCloser: r.Body, onEOF: func() { removeSpoofable(r.Trailer, false, app) }}
	r.Body = body
	caddyhttp.SetVar(r.Context(), earlyWriterVar, true)
	conn := ConnOf(r)
	if conn != nil {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			conn = nil // the response waits for the body, as it does in net/http
		}
	}
	return &earlyResponseWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, body: body, conn: conn}
}

// finish is called after the handlers. If they have not started the response, Caddy writes it with the same headers.
func (w *earlyResponseWriter) finish(r *http.Request) {
	w.start()
	caddyhttp.SetVar(r.Context(), earlyWriterVar, false)
}

// WriteHeader starts the response.
func (w *earlyResponseWriter) WriteHeader(status int) {
	if status/100 != 1 || status == http.StatusSwitchingProtocols {
		w.start()
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

// Write starts the response if it has not started.
func (w *earlyResponseWriter) Write(p []byte) (int, error) {
	w.start()
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom starts the response if it has not started.
func (w *earlyResponseWriter) ReadFrom(r io.Reader) (int64, error) {
	w.start()
	return w.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError starts the response if it has not started.
func (w *earlyResponseWriter) FlushError() error {
	w.start()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// start makes net/http close the connection after the response if the body was not read: the next bytes are not a request.
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

// untypedMarker is the Content-Type of a response that has none, so that no handler, such as `encode`, guesses one. The writer
// removes it.
const untypedMarker = " "

// SuppressContentType keeps a response to a request with a body without a Content-Type, because the application has set none.
func SuppressContentType(req *http.Request, header http.Header) {
	if hasEarlyWriter, _ := caddyhttp.GetVar(req.Context(), earlyWriterVar).(bool); hasEarlyWriter {
		header["Content-Type"] = []string{untypedMarker}
	}
}

// earlyWriterVar is a variable of a request: whether an earlyResponseWriter writes its response.
const earlyWriterVar = "edge.early_writer"

var _ http.ResponseWriter = (*earlyResponseWriter)(nil)
