package registry

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// systemLog is what is written to the system's log, on a machine that has none.
type systemLog struct {
	mu    sync.Mutex
	lines []string
}

const systemLogSocket = "/dev/log"

// listenToSystemLog returns nil if the machine has a log of its own.
func listenToSystemLog(t *testing.T) *systemLog {
	t.Helper()
	if _, err := os.Stat(systemLogSocket); err == nil {
		return nil
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: systemLogSocket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(conn.Close(), os.Remove(systemLogSocket)) })
	l := new(systemLog)
	go func() {
		buffer := make([]byte, 64<<10)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			l.mu.Lock()
			l.lines = append(l.lines, string(buffer[:n]))
			l.mu.Unlock()
		}
	}()
	return l
}

// since returns the lines after the first n.
func (l *systemLog) since(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines[min(n, len(l.lines)):], "\n")
}

func (l *systemLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines)
}

// TestTheKeyOfADeploymentCanDoNothingElse: whoever has stolen it gets no shell, no file, no terminal, no tunnel, and no other image or service; and each try is in the system's log.
func TestTheKeyOfADeploymentCanDoNothingElse(t *testing.T) {
	if os.Getenv("EDGE_TEST_DELIVERY") == "" {
		t.Skip("a target of its own: make test-delivery")
	}
	log := listenToSystemLog(t)
	shop := startShop(t)
	sshd := startSSHD(t, shop)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "key"), sshd.key, 0o600)
	writeFile(t, filepath.Join(dir, "known_hosts"), sshd.hostKey+"\n", 0o600)
	host, port, err := net.SplitHostPort(sshd.address)
	if err != nil {
		t.Fatal(err)
	}
	options := []string{
		"-i", filepath.Join(dir, "key"), "-o", "UserKnownHostsFile=" + filepath.Join(dir, "known_hosts"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-o", "ExitOnForwardFailure=yes", "-o", "ConnectTimeout=10",
	}
	ssh := func(before []string, command ...string) (string, error) {
		args := append(append(append([]string{"30", "ssh", "-p", port}, options...), before...), "root@"+host)
		return runIn(t, dir, "timeout", append(args, command...)...)
	}
	containers := shop.MustCompose(t, "ps", "--all", "--quiet", "--no-trunc")
	image := "localhost:" + stack.HTTPS + "/shop/web"
	digest := "@sha256:" + strings.Repeat("a", 64)
	for _, c := range []struct {
		name    string
		options []string
		command string
	}{
		{"no command", nil, ""},
		{"a shell", nil, "sh -c id"},
		{"a program", nil, "id"},
		{"another command of the edge", nil, "edge backup list"},
		{"a rollout without an image", nil, "rollout web"},
		{"another service", nil, "deploy db " + image + digest},
		{"another repository", nil, "deploy web evil.example/shop/web" + digest},
		{"another path of the registry", nil, "deploy web " + image + "/../other" + digest},
		{"an image without a digest", nil, "deploy web " + image + ":latest"},
		{"an image that is not there", nil, "deploy web " + image + digest},
		{"a command behind it", nil, "deploy web " + image + digest + "; id"},
		{"a command in it", nil, "deploy web $(id)"},
		{"a command in backquotes", nil, "deploy web `id`"},
		{"a new line", nil, "deploy web " + image + digest + "\nid"},
		{"an option", nil, "deploy --project-directory / web " + image + digest},
		{"the undo of another service", nil, "undo db"},
		{"a very long command", nil, strings.Repeat("deploy ", 10_000)},
		{"a terminal", []string{"-tt"}, "sh"},
		{"files", []string{"-s"}, "sftp"},
		{"a variable", []string{"-o", "SetEnv=SSH_ORIGINAL_COMMAND=x LD_PRELOAD=/evil.so"}, "id"},
		{"a tunnel to the Engine's host", []string{"-W", "127.0.0.1:" + port}, ""},
		{"a port of the server", []string{"-N", "-R", "127.0.0.1:0:127.0.0.1:22"}, ""},
	} {
		n := 0
		if log != nil {
			n = log.count()
		}
		var command []string
		if c.command != "" {
			command = []string{c.command}
		}
		out, err := ssh(c.options, command...)
		want := "edge: error: " // the agent was reached, and says no
		switch {
		case len(c.options) > 0 && c.options[0] == "-W":
			want = "administratively prohibited"
		case len(c.options) > 0 && c.options[0] == "-N":
			want = "forwarding failed"
		case len(c.options) > 0 && c.options[0] == "-tt":
			want = "PTY allocation request failed"
		case len(c.options) > 0 && c.options[0] == "-s":
			want = "" // a subsystem has no place for the error
		}
		if err == nil || !strings.Contains(out, want) || strings.Contains(out, "uid=0") || strings.Contains(out, "SSH-2.0") {
			t.Errorf("%s: %v, want %q\n%.500s", c.name, err, want, out)
		}
		if now := shop.MustCompose(t, "ps", "--all", "--quiet", "--no-trunc"); now != containers {
			t.Fatalf("%s: the containers are %s, and were %s", c.name, now, containers)
		}
		isTunnel := len(c.options) > 0 && (c.options[0] == "-W" || c.options[0] == "-N")
		if log == nil || isTunnel {
			continue // sshd refuses it by itself
		}
		harness.EventuallyWithin(t, 5*time.Second, c.name+" is in the system's log", func() bool {
			return strings.Contains(log.since(n), "edge-deploy") && strings.Contains(log.since(n), "ci@127.0.0.1: ")
		})
	}
	// The same by scp, which may use sftp or a command.
	for _, legacy := range [][]string{nil, {"-O"}} {
		args := append(append(append([]string{"30", "scp", "-P", port}, options...), legacy...), fmt.Sprintf("root@%s:%s", host, filepath.Join(shop.dir, "compose.yaml")), filepath.Join(dir, "stolen"))
		if out, err := runIn(t, dir, "timeout", args...); err == nil || strings.Contains(out, "Permission denied (publickey)") {
			t.Errorf("scp %v: %s", legacy, out)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "stolen")); err == nil {
		t.Error("a file was copied")
	}
}
