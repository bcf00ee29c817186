package acme

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/theworklabs/edge/tests/acme/lab"
	"github.com/theworklabs/edge/tests/socketio"
)

// TestRealClientsAcceptTheCertificateOverEveryHTTP uses curl over HTTP/1.1 and HTTP/2, quic-go over HTTP/3, the socket.io client
// over polling and WebSocket, and Chromium over all of them. All of them verify certificates.
func TestRealClientsAcceptTheCertificateOverEveryHTTP(t *testing.T) {
	t.Parallel()
	s := newStack(t, lab.Start(t, lab.Options{Host: gateway}))
	began := time.Now()
	s.up()
	s.mustCompose("up", "--detach", "bigcapital-server", "bigcapital-webapp") // with its databases
	root := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(root, s.ca.FetchManagement(t, "/roots/0"), 0o644); err != nil {
		t.Fatal(err)
	}
	accounting, docs := s.sites()[0], s.sites()[2]
	leaf := s.waitForCertificate(30*time.Second, accounting, anyCertificate)
	s.waitForCertificate(30*time.Second, docs, anyCertificate)

	for flag, want := range map[string]string{"--http1.1": "1.1 200", "--http2": "2 200"} {
		out, err := exec.Command("curl", flag, "--silent", "--show-error", "--cacert", root, "--max-time", "20",
			"--resolve", docs+":"+s.HTTPS+":127.0.0.1", "--output", os.DevNull, "--write-out", "%{http_version} %{http_code}",
			"https://"+docs+":"+s.HTTPS+"/").CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("curl %s: %v %q, want %q", flag, err, out, want)
		}
	}

	resp, err := s.overHTTP3("https://" + docs + "/")
	if err != nil || resp.ProtoMajor != 3 || resp.StatusCode != http.StatusOK {
		t.Errorf("HTTP/3: %v %+v", err, resp)
	}

	for _, transports := range []string{"polling", "websocket", "polling,websocket"} {
		client := socketio.EchoOptions{
			URL: "https://" + accounting + ":" + s.HTTPS, Path: "/socket", Transports: transports, Messages: 5, CAFile: root,
		}
		if err := socketio.Echo(client); err != nil {
			t.Error(err)
		}
	}

	pin := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	for _, protocol := range []string{"http/1.1", "h2", "h3"} {
		browser := exec.Command("node", "../browser/browser.js", "https://"+accounting+":"+s.HTTPS+"/", "127.0.0.1",
			base64.StdEncoding.EncodeToString(pin[:]), protocol)
		var stderr strings.Builder
		browser.Stderr = &stderr
		out, err := browser.Output()
		var result struct {
			Protocol, APIProtocol, Title, Socket string
			Status, API                          int
		}
		if err != nil || json.Unmarshal(out, &result) != nil || result.Protocol != protocol || result.APIProtocol != protocol ||
			result.Status != http.StatusOK || result.API != http.StatusOK || !strings.HasPrefix(result.Socket, `0{"sid":"`) {
			t.Errorf("Chromium over %s: %v %s %s", protocol, err, out, &stderr)
		}
	}
	s.logCase(began, "curl, Chromium, socket.io and quic-go: HTTP/1.1, HTTP/2, HTTP/3, WebSocket and polling work")
}

// overHTTP3 makes a request to the edge's UDP port. Docker publishes it with the number of the TCP port.
func (s *stack) overHTTP3(url string) (*http.Response, error) {
	transport := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: s.ca.Issued},
		Dial: func(ctx context.Context, _ string, conf *tls.Config, quicConf *quic.Config) (*quic.Conn, error) {
			return quic.DialAddrEarly(ctx, "127.0.0.1:"+s.HTTPS, conf, quicConf)
		},
	}
	defer transport.Close()
	resp, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get(url)
	if err != nil {
		return nil, err
	}
	return resp, resp.Body.Close()
}
