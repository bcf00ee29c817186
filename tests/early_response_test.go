package tests

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

// earlyResponder is a Node program that refuses every upload before it has read the body.
const earlyResponder = `
const http = require('http');
http.createServer((req, res) => {
	if (req.method !== 'POST') return res.end('ok');
	res.writeHead(413);
	res.end('x'.repeat(20000));
}).listen(process.argv[1], '127.0.0.1', () => console.log('listening'));
`

// TestClientsGetEarlyResponsesToUploads: clients get the response at least as often as through Caddy's reverse_proxy in the same run.
func TestClientsGetEarlyResponsesToUploads(t *testing.T) {
	const uploads, size = 30, 5_000_000
	node, edge, stock := testport.Port(t), testport.Port(t), testport.Port(t)
	backend := harness.StartProcess(t, exec.Command("node", "-e", earlyResponder, node))
	backend.WaitForLog(t, harness.StateTimeout, "listening")
	harness.StartEdge(t, fmt.Sprintf("{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n\tedge {\n\t\tstatic node:80 127.0.0.1:%[1]s\n\t}\n}\n"+
		"http://127.0.0.1:%[2]s {\n\tedge_proxy node:80\n}\nhttp://127.0.0.1:%[3]s {\n\treverse_proxy 127.0.0.1:%[1]s\n}\n", node, edge, stock))
	for _, port := range []string{edge, stock} {
		harness.Eventually(t, "the proxy answers", func() bool {
			resp, err := http.Get("http://127.0.0.1:" + port + "/")
			if err == nil {
				resp.Body.Close()
			}
			return err == nil && resp.StatusCode == http.StatusOK
		})
	}
	got := make(map[string]int)
	for range uploads { // alternately, so that a busy machine affects both
		for name, port := range map[string]string{"edge": edge, "stock": stock} {
			if getsEarlyResponse(port, size) {
				got[name]++
			}
		}
	}
	t.Logf("of %d uploads of 5 MB that Node refuses with 413, clients got the whole response of %d through edge_proxy, and of %d through reverse_proxy", uploads, got["edge"], got["stock"])
	if got["edge"] < got["stock"] || got["edge"] < uploads-1 {
		t.Errorf("clients got %d of %d responses, and %d through reverse_proxy", got["edge"], uploads, got["stock"])
	}
}

// getsEarlyResponse reports whether a client that reads while it sends gets the whole response.
func getsEarlyResponse(port string, size int) bool {
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return false
	}
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(10*time.Second)) != nil {
		return false
	}
	go func() {
		_, _ = io.WriteString(conn, fmt.Sprintf("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n", size))
		_, _ = conn.Write(make([]byte, size))
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return err == nil && resp.StatusCode == http.StatusRequestEntityTooLarge && len(body) == 20000
}
