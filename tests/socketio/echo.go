package socketio

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/theworklabs/edge/tests/harness"
)

// EchoOptions configure a client that sends messages to a server that sends each of them back.
type EchoOptions struct {
	URL        string // https://HOST:PORT of an edge on loopback: the client connects to 127.0.0.1, whatever HOST is
	Path       string
	Transports string // separated by commas: polling, or websocket, or an upgrade with polling,websocket
	Messages   int
	CAFile     string // the root of the edge's certificate, an absolute path; "": the client verifies no certificate
}

// Echo runs a client of socket.io 4. It returns an error unless the client connects at the first attempt, ends up with the last of
// its transports, and gets every message back, all within 10 s.
func Echo(o EchoOptions) error {
	cmd, err := nodeCommand("echo.js", o.URL, o.Path, o.Transports, strconv.Itoa(o.Messages), o.CAFile)
	if err != nil {
		return err
	}
	out, err := cmd.CombinedOutput()
	var result struct {
		Transport string
		Echoes    int
	}
	if err == nil {
		err = json.Unmarshal(out, &result)
	}
	transport := o.Transports[strings.LastIndex(o.Transports, ",")+1:]
	if err != nil || result.Transport != transport || result.Echoes != o.Messages {
		return fmt.Errorf("%d echoes from %s%s over %s: %v %s", o.Messages, o.URL, o.Path, o.Transports, err, out)
	}
	return nil
}

// nodeCommand returns a command that runs a script of this directory, in which tests/setup has run `npm ci`.
func nodeCommand(script string, args ...string) (*exec.Cmd, error) {
	dir := filepath.Join(harness.Root(), "tests/socketio")
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		return nil, fmt.Errorf("the modules of socket.io are not installed, run tests/setup: %w", err)
	}
	cmd := exec.Command("node", append([]string{script}, args...)...)
	cmd.Dir = dir
	return cmd, nil
}
