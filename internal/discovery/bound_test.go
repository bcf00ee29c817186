package discovery

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestAnAnswerOfTheEngineHasAnEnd(t *testing.T) {
	line := strings.Repeat("x", 1000) + "\n"
	for _, c := range []struct {
		path string
		body io.Reader
		read int64 // all of it can be; -1: it can't
	}{
		{"/v1.41/containers/json", io.LimitReader(endless{}, longestAnswer), longestAnswer},
		{"/v1.41/containers/json", io.LimitReader(endless{}, longestAnswer+1), -1},
		{"/v1.41/containers/json", endless{}, -1},
		{"/v1.41/events", strings.NewReader(strings.Repeat(line, 2*longestEvent/len(line))), int64(2 * longestEvent / len(line) * len(line))},
		{"/v1.41/events", io.MultiReader(strings.NewReader(line), endless{}), -1},
		{"/v1.41/events", io.MultiReader(bytes.NewReader(make([]byte, longestEvent)), strings.NewReader("\nend")), longestEvent + 4},
	} {
		resp := &http.Response{Body: io.NopCloser(c.body), Request: &http.Request{URL: &url.URL{Path: c.path}}}
		bound(resp)
		n, err := io.Copy(io.Discard, resp.Body)
		if c.read < 0 && !errors.Is(err, errTooLong) || c.read >= 0 && (err != nil || n != c.read) {
			t.Errorf("%s: %d bytes, %v, want %d", c.path, n, err, c.read)
		}
	}
}

// endless is read without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
