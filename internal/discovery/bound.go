package discovery

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
)

// What an Engine may say at the most: a list of 10,000 containers has about 20 MB, an event 2 kB.
const (
	longestAnswer = 64 << 20
	longestEvent  = 1 << 20
)

var errTooLong = errors.New("the Engine's answer is longer than any that makes sense")

// bound keeps an Engine that is out of its mind from filling the memory: its answers, and each of its events, have an end.
func bound(resp *http.Response) {
	b := &bounded{ReadCloser: resp.Body, left: longestAnswer}
	if strings.HasSuffix(resp.Request.URL.Path, "/events") {
		b.left, b.perLine = longestEvent, true
	}
	resp.Body = b
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
