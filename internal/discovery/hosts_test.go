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
	"github.com/theworklabs/edge/internal/discovery/sourcetest"
)

// runWithHostsFile runs a DNS source with a hosts file, and with a resolver that knows none of the names.
func runWithHostsFile(t *testing.T, hosts string, names ...string) *sourcetest.Sink {
	t.Helper()
	server := newFakeDNS(t)
	source := server.NewSource().(discovery.DNS)
	source.Names = fixedNames(names)
	source.HostsFile = filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(source.HostsFile, []byte(hosts), 0o600); err != nil {
		t.Fatal(err)
	}
	return sourcetest.Start(t, source)
}

// eventuallyResolves waits until addr is the only address of a name.
func eventuallyResolves(t *testing.T, r *sourcetest.Sink, name, addr string) {
	t.Helper()
	r.Eventually(t, name+" at "+addr, func(s sourcetest.State) bool {
		return len(s.Members[name]) == 1 && s.Members[name][0].Addr.String() == addr
	})
}

func TestIPAddressResolvesToItself(t *testing.T) {
	r := runWithHostsFile(t, "", "198.51.100.7", "127.0.0.1", "2001:db8::7")
	for _, addr := range []string{"198.51.100.7", "127.0.0.1", "2001:db8::7"} {
		eventuallyResolves(t, r, addr, addr)
	}
}

func TestHostsFileNamesNeedNoResolver(t *testing.T) {
	r := runWithHostsFile(t, "# made by Docker\n127.0.0.1\tlocalhost ip4-localhost\n::1 localhost\n\n"+
		"172.17.0.1 host.docker.internal # extra_hosts\nnonsense\n203.0.113.9 Legacy.Example legacy\n",
		"localhost", "host.docker.internal", "legacy.example", "legacy")
	eventuallyResolves(t, r, "localhost", "127.0.0.1")
	eventuallyResolves(t, r, "host.docker.internal", "172.17.0.1")
	eventuallyResolves(t, r, "legacy.example", "203.0.113.9")
	eventuallyResolves(t, r, "legacy", "203.0.113.9")
}

func TestMissingHostsFileFallsBackToResolver(t *testing.T) {
	server := newFakeDNS(t)
	server.SetAddrs("10.0.0.7")
	source := server.NewSource().(discovery.DNS)
	source.HostsFile = filepath.Join(t.TempDir(), "none")
	sourcetest.Start(t, source).EventuallyServes(t, "10.0.0.7")
}

func TestLookupRequestDuringLookupRepeatsIt(t *testing.T) {
	server := newFakeDNS(t)
	server.SetAddrs("10.0.0.7")
	source := server.NewSource().(discovery.DNS)
	source.Refresh = time.Hour
	reached, send := make(chan struct{}, 1), make(chan struct{})
	server.update(func() {
		server.beforeAnswer = func() {
			reached <- struct{}{}
			<-send
		}
	})
	r := sourcetest.Start(t, source)
	<-reached // the answer is built: 10.0.0.7
	server.update(func() { server.beforeAnswer, server.addrs = nil, []string{"10.0.0.8"} })
	server.lookupRequests <- "api"
	for len(server.lookupRequests) > 0 { // until the source has received it
		time.Sleep(time.Millisecond)
	}
	close(send)
	r.EventuallyServes(t, "10.0.0.8")
}

// TestUndeclaredNameNoLongerCountsAsFailing: otherwise no later failure of the resolver would be logged.
func TestUndeclaredNameNoLongerCountsAsFailing(t *testing.T) {
	server := newFakeDNS(t)
	server.SetAddrs("10.0.0.7")
	logs, log := observer.New(zap.WarnLevel)
	source := server.NewSource().(discovery.DNS)
	declared := &changingNames{hosts: []string{"silent", "api"}}
	source.Names, source.Log = declared, zap.New(logs)
	r := sourcetest.Start(t, source)
	r.EventuallyServes(t, "10.0.0.7")
	waitForLogEntries(t, log, 1) // the failure of the silent name
	declared.set("api")
	server.SetAddrs("10.0.0.8")
	r.EventuallyServes(t, "10.0.0.8") // several refreshes without the name
	server.GoDown()
	waitForLogEntries(t, log, 2) // the failure of the resolver
}

// waitForLogEntries waits until the log has n entries.
func waitForLogEntries(t *testing.T, log *observer.ObservedLogs, n int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); log.Len() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d log entries, want %d", log.Len(), n)
		}
	}
}

// changingNames are names that a test changes.
type changingNames struct {
	mu    sync.Mutex
	hosts []string
}

func (c *changingNames) Hosts() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.hosts)
}

func (*changingNames) LookupRequests() <-chan string { return nil }

func (c *changingNames) set(hosts ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hosts = hosts
}
