package tests

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
)

// Chromium ends connections that are being made when the machine's networks change, as they do while containers of other tests start
// (tests/browser/networks.js).
func TestTheBrowserIsUsedAgainAfterAChangeOfNetworks(t *testing.T) {
	const name = "edge-browser0"
	link := func(args ...string) {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Errorf("ip %v: %v %s", args, err, out)
		}
	}
	page := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<title>Here</title><p>Here")
	}))
	first := &firstConn{Listener: page.Listener, accepted: func() {
		link("link", "add", name, "type", "veth", "peer", "name", name+"p")
		t.Cleanup(func() { link("link", "del", name) })
		link("link", "set", name, "up")
		link("link", "set", name+"p", "up")
		link("addr", "add", "198.51.100.1/32", "dev", name)
	}}
	page.Listener = first
	page.Config.ErrorLog = log.New(io.Discard, "", 0) // Chromium says that it does not know the certificate
	page.StartTLS()
	t.Cleanup(page.Close)
	out, err := exec.Command("node", "browser/shoot.js", t.TempDir(), "page="+page.URL).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "page light: 200 Here") || !strings.Contains(string(out), "ERR_NETWORK_CHANGED") {
		t.Errorf("the page was not opened after ERR_NETWORK_CHANGED: %v %s", err, out)
	}
}

// firstConn is a listener whose first connection gets no answer: accepted is called instead.
type firstConn struct {
	net.Listener
	accepted func()
}

func (l *firstConn) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil || l.accepted == nil {
		return conn, err
	}
	change := l.accepted
	l.accepted = nil
	defer conn.Close()
	change()
	return l.Listener.Accept()
}
