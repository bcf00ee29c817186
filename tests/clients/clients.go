// Package clients has the kinds of HTTP clients that tests use while servers are reloaded and replaced.
package clients

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// The kinds of clients.
const (
	HTTP1          = "HTTP/1.1"
	HTTP1Unkept    = "HTTP/1.1, a connection for each request"
	HTTP1TLS       = "HTTP/1.1 with TLS"
	HTTP1TLSUnkept = "HTTP/1.1 with TLS, a connection for each request"
	HTTP2          = "HTTP/2"
	HTTP3          = "HTTP/3"
)

// Kind is how a client speaks.
type Kind struct {
	Name string
	// New returns a client with connections of its own. It does not check certificates, and does not follow redirects.
	New func(timeout time.Duration) *http.Client
	// IsSecure says that it needs TLS.
	IsSecure bool
}

// All are the kinds of clients. serverName is the name in TLS handshakes. They connect to 127.0.0.1, whatever the host of a URL is.
func All(serverName string) []Kind {
	insecure := func(protocol string) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, ServerName: serverName, NextProtos: []string{protocol}}
	}
	kind := func(name string, isSecure bool, newTransport func() http.RoundTripper) Kind {
		return Kind{name, func(timeout time.Duration) *http.Client {
			return &http.Client{
				Transport: newTransport(), Timeout: timeout,
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}
		}, isSecure}
	}
	return []Kind{
		kind(HTTP1, false, func() http.RoundTripper { return &http.Transport{DialContext: dialLoopback} }),
		kind(HTTP1Unkept, false, func() http.RoundTripper { return &http.Transport{DialContext: dialLoopback, DisableKeepAlives: true} }),
		kind(HTTP1TLS, true, func() http.RoundTripper {
			return &http.Transport{DialContext: dialLoopback, TLSClientConfig: insecure("http/1.1")}
		}),
		kind(HTTP1TLSUnkept, true, func() http.RoundTripper {
			return &http.Transport{DialContext: dialLoopback, TLSClientConfig: insecure("http/1.1"), DisableKeepAlives: true}
		}),
		kind(HTTP2, true, func() http.RoundTripper {
			return &http.Transport{DialContext: dialLoopback, TLSClientConfig: insecure("h2"), ForceAttemptHTTP2: true}
		}),
		kind(HTTP3, true, func() http.RoundTripper {
			return &http3.Transport{TLSClientConfig: insecure("h3"), Dial: func(ctx context.Context, address string, tls *tls.Config, config *quic.Config) (*quic.Conn, error) {
				return quic.DialAddrEarly(ctx, onLoopback(address), tls, config)
			}}
		}),
	}
}

func dialLoopback(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, onLoopback(address))
}

// onLoopback returns an address of 127.0.0.1 with the same port.
func onLoopback(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return net.JoinHostPort("127.0.0.1", port)
}

// Send sends a request with a small body, and returns the body of the response; an error if its status is not 200. Over HTTP/1.1, nobody
// sends it again. Over HTTP/2 and HTTP/3 it is sent again, as browsers do, if the server has said that it did not act on it (RFC 9113
// section 8.7, RFC 9114 section 4.1.1).
func Send(client *http.Client, method, url string) (string, error) {
	for tries := 0; ; tries++ {
		body, err := sendOnce(client, method, url)
		if _, isHTTP3 := client.Transport.(*http3.Transport); !isHTTP3 || err == nil || !wasRejected(err) || tries == 100 {
			return body, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func sendOnce(client *http.Client, method, url string) (string, error) {
	req, err := http.NewRequest(method, url, strings.NewReader("order"))
	if err != nil {
		return "", err
	}
	if transport, ok := client.Transport.(*http.Transport); ok && !transport.ForceAttemptHTTP2 {
		req.GetBody = nil // it can't be sent again
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return string(body), err
}

// wasRejected reports whether the server has said that it did not act on a request of HTTP/3. The client here does not send it again by
// itself.
func wasRejected(err error) bool {
	return strings.Contains(err.Error(), "H3_REQUEST_REJECTED") || strings.Contains(err.Error(), "in graceful shutdown")
}
