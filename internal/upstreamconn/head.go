package upstreamconn

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// framing is how a request says where its body ends.
type framing int

const (
	noBody framing = iota
	contentLength
	chunked
)

// framing returns how the body is sent. Trailers need chunks.
func (a *Attempt) framing() framing {
	switch {
	case a.Body == nil:
		return noBody
	case a.ContentLength < 0 || len(a.Trailers) > 0:
		return chunked
	}
	return contentLength
}

// appendHead appends the request line and the headers, with the empty line. It returns an error if they would be something else than they
// seem, such as a header with a line break. What the caller's headers say about the framing is left out.
func (a *Attempt) appendHead(b []byte) ([]byte, error) {
	method, target := a.method(), a.Request.URL.RequestURI()
	if !httpguts.ValidHeaderFieldName(method) { // a method is a token, too
		return nil, fmt.Errorf("the method %q is invalid", method)
	}
	if strings.ContainsFunc(target, isControlOrSpace) {
		return nil, fmt.Errorf("the URL %q has a control character", target)
	}
	host := a.host()
	if !httpguts.ValidHostHeader(host) {
		return nil, fmt.Errorf("the host %q is invalid", host)
	}
	b = append(append(append(append(b, method...), ' '), target...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, host...), "\r\n"...)
	for name, values := range a.header() {
		if isFramingHeader(name) {
			continue
		}
		if !httpguts.ValidHeaderFieldName(name) {
			return nil, fmt.Errorf("the header name %q is invalid", name)
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return nil, fmt.Errorf("the header %s has an invalid value", name) // which may be a secret
			}
			if value == "" && name == "User-Agent" {
				continue // how reverse_proxy says that there is none
			}
			b = appendHeader(b, name, textproto.TrimString(value))
		}
	}
	b, err := a.appendFraming(b)
	if err != nil {
		return nil, err
	}
	return append(b, "\r\n"...), nil
}

func appendHeader(b []byte, name, value string) []byte {
	return append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
}

// host returns the header Host, without the zone of an IPv6 address.
func (a *Attempt) host() string {
	host := a.Request.Host
	if host == "" {
		host = a.Request.URL.Host
	}
	if !strings.HasPrefix(host, "[") {
		return host
	}
	if zone, end := strings.IndexByte(host, '%'), strings.LastIndexByte(host, ']'); zone > 0 && zone < end {
		return host[:zone] + host[end:]
	}
	return host
}

// isFramingHeader reports whether appendHead writes a header itself.
func isFramingHeader(name string) bool {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
		return true
	}
	return false
}

// appendFraming appends the headers that tell the length of the body.
func (a *Attempt) appendFraming(b []byte) ([]byte, error) {
	switch a.framing() {
	case contentLength:
		b = append(b, "Content-Length: "...)
		b = append(strconv.AppendInt(b, a.ContentLength, 10), "\r\n"...)
	case chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		return a.appendTrailerNames(b)
	case noBody:
		switch a.method() {
		case http.MethodPost, http.MethodPut, http.MethodPatch: // a server may wait for a body of these
			b = append(b, "Content-Length: 0\r\n"...)
		}
	}
	return b, nil
}

// appendTrailerNames appends the header Trailer, if there are trailers.
func (a *Attempt) appendTrailerNames(b []byte) ([]byte, error) {
	for _, name := range a.Trailers {
		if isFramingHeader(http.CanonicalHeaderKey(name)) || !httpguts.ValidHeaderFieldName(name) {
			return nil, fmt.Errorf("%q can't be a trailer", name)
		}
	}
	if len(a.Trailers) == 0 {
		return b, nil
	}
	return appendHeader(b, "Trailer", strings.Join(a.Trailers, ",")), nil
}

// errTrailer is why a body is not completed: its connection is closed.
var errTrailer = errors.New("a trailer has a name or a value that can't be sent")

// appendTrailers appends the last chunk and the trailers, which are known when the body was read.
func (a *Attempt) appendTrailers(b []byte) ([]byte, error) {
	b = append(b, "0\r\n"...)
	for name, values := range a.Request.Trailer {
		for _, value := range values {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) || isFramingHeader(http.CanonicalHeaderKey(name)) {
				return nil, errTrailer
			}
			b = appendHeader(b, name, textproto.TrimString(value))
		}
	}
	return append(b, "\r\n"...), nil
}

func isControlOrSpace(r rune) bool { return r <= ' ' || r == 0x7f }
