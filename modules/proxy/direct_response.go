package proxy

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/internal/upstreamconn"
)

// respond sends the response to the client. If it breaks off, it ends the client's connection or stream, so that the client sees that the response is not
// complete.
func (d *direct) respond(w http.ResponseWriter) {
	resp, header := d.response, w.Header()
	stripHopHeaders(resp.Header)
	delete(header, "Server") // the application's own comes instead, or none
	header["Via"] = append(header["Via"], via(resp.ProtoMajor, resp.ProtoMinor))
	if ops := d.ops.response; ops != nil && (ops.Require == nil || ops.Require.Match(resp.StatusCode, resp.Header)) {
		ops.ApplyTo(resp.Header, d.repl)
	}
	addHeaders(header, resp.Header)
	announced := len(resp.Trailer)
	if announced > 0 {
		header.Add("Trailer", strings.Join(slices.Sorted(maps.Keys(resp.Trailer)), ", "))
	}
	w.WriteHeader(resp.StatusCode)
	err := d.copy(w, resp)
	_ = resp.Body.Close() // it was read, or has failed
	if err != nil {
		d.logAborted(err)
		_ = http.NewResponseController(w).Flush() // the client sees what there is
		panic(http.ErrAbortHandler)
	}
	if len(resp.Trailer) == 0 {
		return
	}
	_ = http.NewResponseController(w).Flush() // or net/http counts a short body, and sends no trailers
	if len(resp.Trailer) == announced {
		addHeaders(header, resp.Trailer)
		return
	}
	for name, values := range resp.Trailer {
		header[http.TrailerPrefix+name] = values
	}
}

// stripHopHeaders removes the headers that concern the endpoint's connection only.
func stripHopHeaders(header http.Header) {
	for _, name := range tokens(header["Connection"]) {
		delete(header, name)
	}
	for name := range header {
		if isHopHeader(name) {
			delete(header, name)
		}
	}
}

// addHeaders adds the values of one set of headers to another.
func addHeaders(to, from http.Header) {
	for name, values := range from {
		if len(to[name]) == 0 {
			to[name] = values
		} else {
			to[name] = append(slices.Clip(to[name]), values...)
		}
	}
}

// sendInterim passes a 1xx response on.
func sendInterim(w http.ResponseWriter, code int, interim http.Header) error {
	header := w.Header()
	own := maps.Clone(header)
	stripHopHeaders(interim)
	addHeaders(header, interim)
	w.WriteHeader(code)
	clear(header) // net/http does not do it for 1xx responses
	maps.Copy(header, own)
	return nil
}

// isStreamed reports whether each part of the response is sent at once.
func (d *direct) isStreamed(resp *http.Response) bool {
	if d.flushesAtOnce || resp.ContentLength == -1 {
		return true
	}
	if isEventStream(resp.Header) {
		return true
	}
	return len(resp.Header["Incremental"]) > 0 && caddyhttp.IsIncremental(resp.Header)
}

// copyBuffers have room for a part of a response.
var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// copy sends the body of the response.
func (d *direct) copy(w http.ResponseWriter, resp *http.Response) error {
	to := io.Writer(w)
	if d.isStreamed(resp) {
		f := newFlusher(w)
		defer f.stop()
		if d.flushesAtOnce {
			f.flushHead()
		}
		to = f
	}
	rest := d.restCopier(w, resp)
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	for {
		switch n, err := rest.copy(); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case n > 0:
			continue
		}
		n, err := resp.Body.Read(buf[:])
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return errors.Join(errWriteResponse, err)
			}
		}
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return errors.Join(errReadResponse, err)
		}
	}
}

// restCopier has the kernel copy parts of a long body. The zero one does not.
type restCopier struct {
	from upstreamconn.RestCopier
	to   io.ReaderFrom
}

// restCopier returns what may copy parts of the body: only to an HTTP/1.1 connection without TLS can the kernel copy.
func (d *direct) restCopier(w http.ResponseWriter, resp *http.Response) (r restCopier) {
	if resp.ContentLength < upstreamconn.MinRest || d.req.TLS != nil || d.req.ProtoMajor != 1 || d.isStreamed(resp) {
		return r
	}
	if to, ok := w.(io.ReaderFrom); ok {
		r.to = to
		r.from, _ = resp.Body.(upstreamconn.RestCopier)
	}
	return r
}

// copy copies what has arrived. n is 0 if the body has to be read as usual. At its end, err is io.EOF.
func (r restCopier) copy() (n int64, err error) {
	if r.from == nil {
		return 0, nil
	}
	n, fromEndpoint, err := r.from.CopyArrived(r.to)
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case fromEndpoint:
		return n, errors.Join(errReadResponse, err)
	}
	return n, errors.Join(errWriteResponse, err)
}

// Why a response breaks off.
var (
	errWriteResponse = errors.New("writing")
	errReadResponse  = errors.New("reading")
)

// flusher flushes after each write, and the head of the response if no byte of the body has come for a moment.
type flusher struct {
	w  http.ResponseWriter
	rc *http.ResponseController

	mu        sync.Mutex
	isFlushed bool
	timer     *time.Timer
}

// headDelay is how long the head of a streamed response waits for the first bytes of its body.
const headDelay = time.Millisecond

func newFlusher(w http.ResponseWriter) *flusher {
	f := &flusher{w: w, rc: http.NewResponseController(w)}
	f.timer = time.AfterFunc(headDelay, f.flushHead)
	return f
}

func (f *flusher) flushHead() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.isFlushed {
		f.isFlushed = true
		_ = f.rc.Flush() // the next write fails, too
	}
}

// Write sends bytes at once.
func (f *flusher) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.isFlushed = true
	n, err := f.w.Write(p)
	if err == nil {
		err = f.rc.Flush()
	}
	if errors.Is(err, http.ErrNotSupported) {
		err = nil // a wrapper that can't flush
	}
	return n, err
}

// stop ends that the head is flushed: the ResponseWriter must not be used after the handler.
func (f *flusher) stop() {
	f.timer.Stop()
	f.mu.Lock()
	f.isFlushed = true
	f.mu.Unlock()
}

// attachTrailers gives a request of which trailers may come a map of its own, which is filled when the body was read.
func attachTrailers(req, original *http.Request) {
	if req.Body == nil || req.ContentLength >= 0 && len(original.Trailer) == 0 {
		return
	}
	req.Trailer = original.Trailer.Clone()
	if req.Trailer == nil {
		req.Trailer = make(http.Header)
	}
	if len(req.Trailer) > 0 {
		req.ContentLength = -1 // trailers need chunks
	}
	req.Body = &trailingBody{ReadCloser: req.Body, original: original, trailer: req.Trailer}
}

// trailingBody copies the trailers when net/http has read them: at the end of the body.
type trailingBody struct {
	io.ReadCloser
	original *http.Request
	trailer  http.Header
	isCopied bool
}

// Read reads the body.
func (b *trailingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && !b.isCopied {
		b.isCopied = true
		clear(b.trailer)
		maps.Copy(b.trailer, b.original.Trailer)
	}
	return n, err
}
