package discovery

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/moby/moby/client"
)

// What an Engine may say at the most: a list of 1,000 containers has about 3 MB, an event 2 kB.
const (
	maxResponseSize = 8 << 20
	maxEventSize    = 1 << 20
)

var errResponseTooLarge = errors.New("the Engine's answer is longer than any that makes sense")

// limitTransport keeps an Engine that is out of its mind from filling the memory: its answers, and each of its events, have
// an end. (The client's own hooks are shown copies of answers.)
type limitTransport struct{ *http.Transport }

func newLimitTransport(endpoint string) (limitTransport, error) {
	u, err := client.ParseHostURL(endpoint)
	if err != nil {
		return limitTransport{}, err
	}
	return limitTransport{&http.Transport{
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, u.Scheme, u.Host)
		},
	}}, nil
}

// RoundTrip implements http.RoundTripper.
func (t limitTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	b := &limitReader{ReadCloser: resp.Body, remaining: maxResponseSize}
	if strings.HasSuffix(r.URL.Path, "/events") {
		b.remaining, b.perLine = maxEventSize, true
	}
	resp.Body = b
	return resp, nil
}

// limitReader fails after so many bytes; with perLine, in one line.
type limitReader struct {
	io.ReadCloser
	remaining int
	perLine   bool
}

// Read implements io.Reader.
func (b *limitReader) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.remaining -= n
	if end := bytes.LastIndexByte(p[:n], '\n'); b.perLine && end >= 0 {
		b.remaining = maxEventSize - (n - end - 1)
	}
	if b.remaining < 0 {
		return 0, errResponseTooLarge
	}
	return n, err
}
