package engineio

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
)

// decode returns the first MaxBody bytes of what body stands for. With an error it returns what there is before it, since
// a body may have been cut.
func decode(encoding string, body []byte) ([]byte, error) {
	body = body[:min(len(body), MaxBody)]
	encoding = strings.ToLower(strings.TrimSpace(encoding))
	if encoding == "" || encoding == "identity" {
		return body, nil
	}
	r, err := decoder(encoding, body)
	if err != nil {
		return nil, fmt.Errorf("content encoding %.40q: %w", encoding, err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, MaxBody))
	if err != nil {
		return plain, fmt.Errorf("content encoding %.40q: %w", encoding, err)
	}
	return plain, nil
}

func decoder(encoding string, body []byte) (io.Reader, error) {
	r := bytes.NewReader(body)
	switch encoding {
	case "gzip", "x-gzip":
		return gzip.NewReader(r)
	case "deflate":
		if hasZlibHeader(body) {
			return zlib.NewReader(r)
		}
		return flate.NewReader(r), nil
	case "br":
		if hasWideWindow(body) {
			return nil, errors.New("its window is wider than 4 MiB")
		}
		return brotli.NewReader(r), nil
	}
	return nil, errors.New("none of gzip, deflate and br")
}

// hasZlibHeader tells the two things apart that are called deflate: RFC 9110, section 8.4.1.2, asks for zlib's format, but
// some send the bare one.
func hasZlibHeader(body []byte) bool {
	return len(body) >= 2 && body[0]&0x0f == 8 && (uint(body[0])<<8|uint(body[1]))%31 == 0
}

// hasWideWindow reports that a stream asks for a window of 2^23 bytes or more (RFC 7932, section 9.1), which is memory that
// the decoder takes before anything can be read. Encoders ask for 2^22 at most, unless they are told to.
func hasWideWindow(stream []byte) bool {
	return len(stream) > 0 && stream[0]&1 == 1 && stream[0]>>1&7 >= 6
}
