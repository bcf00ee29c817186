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
	longestAnswer = 8 << 20
	longestEvent  = 1 << 20
)

var errTooLong = errors.New("the Engine's answer is longer than any that makes sense")

// boundedTransport keeps an Engine that is out of its mind from filling the memory: its answers, and each of its events, have
// an end. (The client's own hooks are shown copies of answers.)
type boundedTransport struct{ *http.Transport }

func newBoundedTransport(endpoint string) (boundedTransport, error) {
	u, err := client.ParseHostURL(endpoint)
	if err != nil {
		return boundedTransport{}, err
	}
	return boundedTransport{&http.Transport{
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, u.Scheme, u.Host)
		},
	}}, nil
}

// RoundTrip implements http.RoundTripper.
func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	b := &bounded{ReadCloser: resp.Body, left: longestAnswer}
	if strings.HasSuffix(r.URL.Path, "/events") {
		b.left, b.perLine = longestEvent, true
	}
	resp.Body = b
	return resp, nil
}

// bounded fails after so many bytes; with perLine, in one line.
type bounded struct {
	io.ReadCloser
	left    int
	perLine bool
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.left -= n
	if end := bytes.LastIndexByte(p[:n], '\n'); b.perLine && end >= 0 {
		b.left = longestEvent - (n - end - 1)
	}
	if b.left < 0 {
		return 0, errTooLong
	}
	return n, err
}
