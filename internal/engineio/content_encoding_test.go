package engineio_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"

	"github.com/theworklabs/edge/internal/engineio"
)

// contentEncodings are the ways in which a body can be compressed.
var contentEncodings = []struct {
	name, encoding string
	writer         func(io.Writer) io.WriteCloser
}{
	{"gzip", "gzip", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }},
	{"gzip by its old name", "x-gzip", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }},
	{"deflate", "deflate", func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }},
	{"deflate without zlib's header", "deflate", func(w io.Writer) io.WriteCloser {
		bare, _ := flate.NewWriter(w, flate.BestCompression) // the level is one
		return bare
	}},
	{"brotli", "br", func(w io.Writer) io.WriteCloser { return brotli.NewWriterLevel(w, 5) }},
}

// compress returns the parts in one compressed body, each sent off before the next.
func compress(t testing.TB, writer func(io.Writer) io.WriteCloser, parts ...string) []byte {
	t.Helper()
	var body bytes.Buffer
	w := writer(&body)
	for _, part := range parts {
		if _, err := io.WriteString(w, part); err != nil {
			t.Fatal(err)
		}
		if err := w.(interface{ Flush() error }).Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return body.Bytes()
}

const openPayload = "0{\"sid\":\"a\"}\x1e"

func wantSession(t *testing.T, encoding string, body []byte) {
	t.Helper()
	h, err := engineio.ReadHandshake(encoding, body)
	if err != nil || h.SID != "a" {
		t.Errorf("%+v %v, want session a", h, err)
	}
}

func TestHandshakeIsReadFromTruncatedCompressedBody(t *testing.T) {
	noise := strings.Repeat("message", 100)
	for _, c := range contentEncodings {
		t.Run(c.name, func(t *testing.T) {
			whole := compress(t, c.writer, openPayload, noise)
			begun := len(compress(t, c.writer, openPayload, "")) // as much as there is after the first part, and an end
			wantSession(t, c.encoding, whole)
			wantSession(t, c.encoding, whole[:begun])
			for n := range whole {
				h, err := engineio.ReadHandshake(c.encoding, whole[:n])
				if err == nil && h.SID != "a" {
					t.Fatalf("%d bytes were read as %+v", n, h)
				}
			}
		})
	}
}

func TestBrokenBodyErrorNamesItsEncoding(t *testing.T) {
	for _, c := range contentEncodings {
		t.Run(c.name, func(t *testing.T) {
			body := compress(t, c.writer, openPayload)
			wantError(t, c.encoding, nil, `content encoding "`+c.encoding+`": `)
			wantError(t, c.encoding, body[:3], `content encoding "`+c.encoding+`": `)
			wantError(t, c.encoding, bytes.Repeat([]byte{0xff}, 50), `content encoding "`+c.encoding+`": `)
			wantError(t, c.encoding, compress(t, c.writer, "not found"), "not an engine.io payload")
		})
	}
	for _, unknown := range []string{"zstd", "gzip, br", "compress", strings.Repeat("x", 10_000)} {
		wantError(t, unknown, []byte(openPayload), "none of gzip, deflate and br")
	}
}

func TestOnlyMaxBodyBytesAreRead(t *testing.T) {
	long := `0{"pad":"` + strings.Repeat("x", engineio.MaxBody) + `","sid":"a"}`
	wantError(t, "", []byte(long), "open packet: unexpected end of JSON input")
	for _, c := range contentEncodings {
		wantError(t, c.encoding, compress(t, c.writer, long), "open packet: unexpected end of JSON input")
	}
	wantSession(t, "", []byte(openPayload+long))
}

func TestDecompressionBombsAreBounded(t *testing.T) {
	const mega = 1 << 20
	zeros := strings.Repeat("\x00", 8*mega)
	for _, c := range contentEncodings {
		t.Run(c.name, func(t *testing.T) {
			bomb := compress(t, c.writer, zeros)
			wantError(t, c.encoding, bomb, "")
			most := uint64(mega)
			if c.encoding == "br" {
				most = 5 * mega // its window, of which no encoder asks for less
			}
			if got := allocatedBytes(func() { _, _ = engineio.ReadHandshake(c.encoding, bomb) }); got > most {
				t.Errorf("%d bytes of a bomb took %d bytes of memory", len(bomb), got)
			}
		})
	}
	t.Run("brotli with a wide window", func(t *testing.T) {
		for window := 10; window <= 24; window++ {
			body := compress(t, func(w io.Writer) io.WriteCloser {
				return brotli.NewWriterOptions(w, brotli.WriterOptions{Quality: 5, LGWin: window})
			}, openPayload)
			if window <= 22 {
				wantSession(t, "br", body)
			} else {
				wantError(t, "br", body, "its window is wider than 4 MiB")
			}
		}
	})
}

// allocatedBytes returns how many bytes a call takes from the heap.
func allocatedBytes(call func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
