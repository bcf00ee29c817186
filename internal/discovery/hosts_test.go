package discovery_test

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/theworklabs/edge/internal/discovery"
)

// fixed runs a source whose names are in a hosts file, or are addresses, and whose resolver knows none of them.
func fixed(t *testing.T, hosts string, names ...string) *record {
	t.Helper()
	w := newDNSWorld(t)
	source := w.source().(discovery.DNS)
	source.Names = listed(names)
	source.HostsFile = filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(source.HostsFile, []byte(hosts), 0o600); err != nil {
		t.Fatal(err)
	}
	return runSource(t, source)
}

// at waits until a name has exactly one address.
func (r *record) at(t *testing.T, name, addr string) {
	t.Helper()
	r.until(t, name+" at "+addr, func() bool {
		return len(r.names[name]) == 1 && r.names[name][0].Addr.String() == addr
	})
}

func TestAnAddressIsItsOwnAnswer(t *testing.T) {
	r := fixed(t, "", "198.51.100.7", "127.0.0.1", "2001:db8::7")
	for _, addr := range []string{"198.51.100.7", "127.0.0.1", "2001:db8::7"} {
		r.at(t, addr, addr)
	}
}

func TestNamesOfTheHostsFileNeedNoResolver(t *testing.T) {
	r := fixed(t, "# made by Docker\n127.0.0.1\tlocalhost ip4-localhost\n::1 localhost\n\n"+
		"172.17.0.1 host.docker.internal # extra_hosts\nnonsense\n203.0.113.9 Legacy.Example legacy\n",
		"localhost", "host.docker.internal", "legacy.example", "legacy")
	r.at(t, "localhost", "127.0.0.1")
	r.at(t, "host.docker.internal", "172.17.0.1")
	r.at(t, "legacy.example", "203.0.113.9")
	r.at(t, "legacy", "203.0.113.9")
}

func TestWithoutAHostsFileTheResolverIsAsked(t *testing.T) {
	w := newDNSWorld(t)
	w.serve("10.0.0.7")
	source := w.source().(discovery.DNS)
	source.HostsFile = filepath.Join(t.TempDir(), "none")
	runSource(t, source).serves(t, "10.0.0.7")
}

func TestANudgeDuringAQuestionAsksAgainAfterIt(t *testing.T) {
	w := newDNSWorld(t)
	w.serve("10.0.0.7")
	source := w.source().(discovery.DNS)
	source.Refresh = time.Hour
	reached, answer := make(chan struct{}, 1), make(chan struct{})
	w.set(func() {
		w.pause = func() {
			reached <- struct{}{}
			<-answer
		}
	})
	r := runSource(t, source)
	<-reached // its answer is made: 10.0.0.7
	w.set(func() { w.pause, w.addrs = nil, []string{"10.0.0.8"} })
	w.nudges <- "api"
	for len(w.nudges) > 0 { // taken
		time.Sleep(time.Millisecond)
	}
	close(answer)
	r.serves(t, "10.0.0.8")
}

// TestAFailingNameThatIsNoLongerDeclaredIsForgotten: the resolver's failures would be logged never again.
func TestAFailingNameThatIsNoLongerDeclaredIsForgotten(t *testing.T) {
	w := newDNSWorld(t)
	w.serve("10.0.0.7")
	logs, log := observer.New(zap.WarnLevel)
	source := w.source().(discovery.DNS)
	declared := &changing{hosts: []string{"silent", "api"}}
	source.Names, source.Log = declared, zap.New(logs)
	r := runSource(t, source)
	r.serves(t, "10.0.0.7")
	logged(t, log, 1) // the silent name's failure
	declared.set("api")
	w.serve("10.0.0.8")
	r.serves(t, "10.0.0.8") // several rounds without it
	w.breakDown()
	logged(t, log, 2) // the resolver's
}

// logged waits for so many entries.
func logged(t *testing.T, log *observer.ObservedLogs, n int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); log.Len() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d entries, want %d", log.Len(), n)
		}
	}
}

// changing is names that change.
type changing struct {
	mu    sync.Mutex
	hosts []string
}

func (c *changing) Hosts() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.hosts)
}

func (*changing) LookupRequests() <-chan string { return nil }

func (c *changing) set(hosts ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hosts = hosts
}
