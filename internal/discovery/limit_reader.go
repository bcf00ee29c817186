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

// Limits of the Docker Engine's responses. A list of 1,000 containers has about 3 MB, an event 2 kB.
const (
	maxResponseSize = 8 << 20
	maxEventSize    = 1 << 20
)

var errResponseTooLarge = errors.New("the Docker Engine's response exceeds the size limit")

// limitTransport limits the size of each list and each event, so that a faulty Docker Engine can't exhaust the memory. (The Docker
// client's own hooks get copies of the responses, so they can't do this.)
type limitTransport struct{ *http.Transport }

func newLimitTransport(dockerHost string) (limitTransport, error) {
	u, err := client.ParseHostURL(dockerHost)
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
	l := &limitReader{ReadCloser: resp.Body, remaining: maxResponseSize}
	if strings.HasSuffix(r.URL.Path, "/events") {
		l.remaining, l.perLine = maxEventSize, true
	}
	resp.Body = l
	return resp, nil
}

// limitReader fails with errResponseTooLarge when more than the remaining bytes have been read.
type limitReader struct {
	io.ReadCloser
	remaining int
	perLine   bool // the limit is for each line, and is maxEventSize
}

// Read implements io.Reader.
func (l *limitReader) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	l.remaining -= n
	if end := bytes.LastIndexByte(p[:n], '\n'); l.perLine && end >= 0 {
		l.remaining = maxEventSize - (n - end - 1)
	}
	if l.remaining < 0 {
		return 0, errResponseTooLarge
	}
	return n, err
}
