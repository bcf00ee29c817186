package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	_ "github.com/theworklabs/edge/modules/downstream"
)

// newHeaderEcho returns a backend that responds with the headers and trailers of the request, one per line.
func newHeaderEcho(t testing.TB) *wireBackend {
	t.Helper()
	return newWireBackend(t, func(conn net.Conn, r *http.Request, _ *bufio.Reader) {
		_, _ = io.Copy(io.Discard, r.Body)
		var lines []string
		for name, values := range r.Header {
			lines = append(lines, name+": "+strings.Join(values, ","))
		}
		for name, values := range r.Trailer {
			lines = append(lines, "trailer "+name+": "+strings.Join(values, ","))
		}
		slices.Sort(lines)
		text := strings.Join(lines, "\n")
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	})
}

const spoofableHeaders = "Client-IP Proxy-Client-IP WL-Proxy-Client-IP Fly-Client-IP X-Originating-IP X-Azure-ClientIP X-Envoy-External-Address " +
	"X-ProxyUser-IP X-Scheme X-Host X-HTTP-Host-Override X-Original-URI True-Client-IP X-Real-IP CF-Connecting-IP"

func TestNoSpoofableHeaderReachesTheBackend(t *testing.T) {
	for _, directives := range []string{"edge_proxy api:80", "sanitize_request\nedge_proxy api:80"} {
		s := newHeaderEcho(t).serveSite(t, new(site), directives)
		var head strings.Builder
		for name := range strings.FieldsSeq(spoofableHeaders) {
			fmt.Fprintf(&head, "%s: 6.6.6.6\n", name)
		}
		conn := s.dial(t)
		writeRequest(t, conn, "GET / HTTP/1.1\nHost: a\nX-HTTP-Method-Override: PATCH\nX-Client-Version: 7\nX-Original-Filename: a.txt\n"+head.String()+"\n")
		_, body := readResponse(t, conn)
		if strings.Contains(body, "6.6.6.6") {
			t.Errorf("%q: the backend got\n%s", directives, body)
		}
		for _, want := range []string{"X-Http-Method-Override: PATCH", "X-Client-Version: 7", "X-Original-Filename: a.txt"} {
			if !strings.Contains(body, want) {
				t.Errorf("%q: %s did not arrive:\n%s", directives, want, body)
			}
		}
		stopCaddy(t)
	}
}

func TestKeepHeadersLetsASpoofableHeaderPass(t *testing.T) {
	s := newHeaderEcho(t).serveSite(t, &site{edgeOptions: "keep_headers X-Original-URI x_host"}, "edge_proxy api:80")
	conn := s.dial(t)
	writeRequest(t, conn, "GET / HTTP/1.1\nHost: a\nX-Original-URI: /a\nX-Host: b\nX-Scheme: c\n\n")
	_, body := readResponse(t, conn)
	if !strings.Contains(body, "X-Original-Uri: /a") || !strings.Contains(body, "X-Host: b") || strings.Contains(body, "X-Scheme") {
		t.Errorf("the backend got\n%s", body)
	}
}

// TestHeadersSetByTheConfigurationReachTheBackend checks also that the client's values of these headers do not.
func TestHeadersSetByTheConfigurationReachTheBackend(t *testing.T) {
	auth := newBackend(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Forwarded-User", "alice") }).start(t)
	s := newHeaderEcho(t).serveSite(t, new(site), "sanitize_request\nrequest_header X-Forwarded-Prefix /app\nrequest_header X-Client-IP {client_ip}\n"+
		"forward_auth "+auth.address+" {\n uri /auth\n copy_headers X-Forwarded-User\n}\nedge_proxy api:80")
	conn := s.dial(t)
	writeRequest(t, conn, "GET / HTTP/1.1\nHost: a\nX-Forwarded-User: mallory\nX-Forwarded-Prefix: /evil\nX-Client-IP: 6.6.6.6\n\n")
	_, body := readResponse(t, conn)
	for _, want := range []string{"X-Forwarded-User: alice", "X-Forwarded-Prefix: /app", "X-Client-Ip: 127.0.0.1"} {
		if !strings.Contains(body, want) {
			t.Errorf("%s did not arrive:\n%s", want, body)
		}
	}
	if strings.Contains(body, "mallory") || strings.Contains(body, "evil") || strings.Contains(body, "6.6.6.6") {
		t.Errorf("the backend got\n%s", body)
	}
}

func TestTrailersArriveWithoutSpoofableOnes(t *testing.T) {
	s := newHeaderEcho(t).serveSite(t, new(site), "edge_proxy api:80")
	for name, request := range map[string]string{
		"announced":   "POST / HTTP/1.1\nHost: a\nTrailer: X-Real-IP, X-Checksum\nTransfer-Encoding: chunked\n\n5\nhello\n0\nX-Real-IP: 6.6.6.6\nX-Checksum: abc\n\n",
		"idempotent":  "PUT / HTTP/1.1\nHost: a\nTrailer: X-Checksum, X-Real-IP\nTransfer-Encoding: chunked\n\n5\nhello\n0\nX-Checksum: abc\nX-Real-IP: 6.6.6.6\n\n",
		"no body":     "PUT / HTTP/1.1\nHost: a\nTrailer: X-Checksum\nTransfer-Encoding: chunked\n\n0\nX-Checksum: abc\n\n",
		"unannounced": "PUT / HTTP/1.1\nHost: a\nTrailer: X-Checksum\nTransfer-Encoding: chunked\n\n5\nhello\n0\nX-Checksum: abc\nX-Real-IP: 6.6.6.6\n\n",
	} {
		conn := s.dial(t)
		writeRequest(t, conn, request)
		_, body := readResponse(t, conn)
		if strings.Contains(body, "6.6.6.6") || !strings.Contains(body, "trailer X-Checksum: abc") {
			t.Errorf("%s: the backend got\n%s", name, body)
		}
	}
}

func TestHeaderUpFromADroppedHeaderIsAnError(t *testing.T) {
	for _, value := range []string{"{http.request.header.CF-Connecting-IP}", "{header.X-Real-IP}", "{>True-Client-IP}"} {
		err := adaptError(t, ":80 {\n edge_proxy api:80 {\n header_up X-Forwarded-For "+value+"\n }\n}")
		if err == nil {
			t.Errorf("%s: got no error, although the header is always empty", value)
		} else if !strings.Contains(err.Error(), "trusted_proxies") || !strings.Contains(err.Error(), "client_ip_headers") {
			t.Errorf("%s: the error does not name trusted_proxies and client_ip_headers: %v", value, err)
		}
	}
	if err := adaptError(t, ":80 {\n edge_proxy api:80 {\n header_up X-Version {header.X-Client-Version}\n }\n}"); err != nil {
		t.Error(err)
	}
}
