package discovery_test

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/discovery/sourcetest"
	"github.com/theworklabs/edge/internal/registry"
)

func TestDNSDropsAddressesOutsideSubnets(t *testing.T) {
	server := newFakeDNS(t)
	server.SetAddrs("93.184.216.34", "10.0.0.7", "127.0.0.1")
	sourcetest.Start(t, server.NewSource()).EventuallyServes(t, "10.0.0.7")
}

// TestDNSSeesANetworkThatTheEdgeJoins: it does not list the networks of the machine for each lookup, but for one that has an address outside of them.
func TestDNSSeesANetworkThatTheEdgeJoins(t *testing.T) {
	f := newFakeDNS(t)
	f.SetAddrs("10.0.0.7")
	s := f.NewSource().(discovery.DNS)
	var joined atomic.Bool
	var lists atomic.Int32
	s.Subnets = func() []netip.Prefix {
		lists.Add(1)
		if joined.Load() {
			return append(subnets(), netip.MustParsePrefix("10.9.0.0/24"))
		}
		return subnets()
	}
	r := sourcetest.Start(t, s)
	r.EventuallyServes(t, "10.0.0.7")
	f.awaitQueries("api.", 20)
	if n := lists.Load(); n != 1 {
		t.Errorf("the networks were listed %d times, want once", n)
	}
	f.SetAddrs("10.9.0.7")
	r.EventuallyServes(t)
	joined.Store(true)
	r.EventuallyServes(t, "10.9.0.7")
	f.SetAddrs("10.0.0.8", "10.9.0.8") // with the networks that it knows by now
	r.EventuallyServes(t, "10.0.0.8", "10.9.0.8")
}

func TestDNSSortsAndDeduplicatesAddresses(t *testing.T) {
	server := newFakeDNS(t)
	server.SetAddrs("10.0.0.9", "10.0.0.7", "10.0.0.9")
	r := sourcetest.Start(t, server.NewSource())
	r.EventuallyServes(t, "10.0.0.7", "10.0.0.9")
	s := r.State()
	if !slices.IsSortedFunc(s.Members["api"], func(a, b registry.Member) int { return a.Addr.Compare(b.Addr) }) {
		t.Errorf("members %v, want them sorted by address", s.Members["api"])
	}
}

func TestDNSRepeatsTruncatedAnswersOverTCP(t *testing.T) {
	server := newFakeDNS(t)
	server.truncate = true
	server.SetAddrs("10.0.0.7")
	sourcetest.Start(t, server.NewSource()).EventuallyServes(t, "10.0.0.7")
}

func TestDNSFallsBackToIPv6(t *testing.T) {
	server := newFakeDNS(t)
	server.SetAddrs("fd00::7")
	source := server.NewSource().(discovery.DNS)
	source.Subnets = func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("fd00::1/64")} }
	r := sourcetest.Start(t, source)
	r.EventuallyServes(t, "fd00::7")
}

func TestDNSQueriesOnlyFullyQualifiedNames(t *testing.T) {
	server := newFakeDNS(t)
	r := sourcetest.Start(t, server.NewSource())
	r.EventuallyServes(t)
	server.mu.Lock()
	defer server.mu.Unlock()
	for name := range server.queryCount {
		if name != "api." {
			t.Errorf("a query for %q, want only api.", name)
		}
	}
}

func TestSlowNameDoesNotDelayOthers(t *testing.T) {
	server := newFakeDNS(t)
	server.SetAddrs("10.0.0.7")
	source := server.NewSource().(discovery.DNS)
	source.Names = fixedNames{"silent", "api"} // the server does not answer queries for the first one
	r := sourcetest.Start(t, source)
	r.EventuallyServes(t, "10.0.0.7")
	for _, addr := range []string{"10.0.0.8", "10.0.0.9", "10.0.0.10"} {
		start := time.Now()
		server.SetAddrs(addr)
		r.EventuallyServes(t, addr)
		if took := time.Since(start); took > time.Second {
			t.Errorf("a change was seen after %s, want at most 1s", took)
		}
	}
}

// TestDNSWithoutNamesReportsAtOnce: names of projects are not looked up, and the start must not wait for an answer that never comes.
func TestDNSWithoutNamesReportsAtOnce(t *testing.T) {
	server := newFakeDNS(t)
	source := server.NewSource().(discovery.DNS)
	source.Names = fixedNames{"shop/web"}
	r := sourcetest.Start(t, source)
	r.Eventually(t, "report", func(s sourcetest.State) bool { return s.IsOnline })
}

// requestedNames are fixedNames with lookup requests.
type requestedNames struct {
	fixedNames
	requests chan string
}

func (n requestedNames) LookupRequests() <-chan string { return n.requests }

// fixedNames are names without lookup requests.
type fixedNames []string

func (l fixedNames) Hosts() []string             { return l }
func (fixedNames) LookupRequests() <-chan string { return nil }

func TestDNSAnswersLookupRequestsAtOnce(t *testing.T) {
	server := newFakeDNS(t)
	server.SetAddrs("10.0.0.7")
	source := server.NewSource().(discovery.DNS)
	source.Refresh = time.Hour
	r := sourcetest.Start(t, source)
	r.EventuallyServes(t, "10.0.0.7")
	server.SetAddrs("10.0.0.8")
	server.lookupRequests <- "api"
	r.EventuallyServes(t, "10.0.0.8")
}

// TestDNSAsksSeldomWhileAnotherSourceDecides, and each time again as soon as that ends, or while the resolver fails.
func TestDNSAsksSeldomWhileAnotherSourceDecides(t *testing.T) {
	f := newFakeDNS(t)
	f.SetAddrs("10.0.0.7")
	s := f.NewSource().(discovery.DNS)
	var isSpare atomic.Bool
	isSpare.Store(true)
	s.Names = requestedNames{fixedNames{"api", "other"}, f.lookupRequests}
	s.IsSpare = func(host string) bool { return host == "api" && isSpare.Load() }
	r := sourcetest.Start(t, s)
	r.EventuallyServes(t, "10.0.0.7")
	queries := func() (n int) {
		f.update(func() { n = f.queryCount["api."] })
		return n
	}
	before := queries()
	f.awaitQueries("other.", 20)
	if n := queries() - before; n > 0 {
		t.Errorf("%d lookups while another source decides", n)
	}
	f.SetAddrs("10.0.0.8")
	f.lookupRequests <- "api" // nevertheless
	r.EventuallyServes(t, "10.0.0.8")
	f.GoDown()
	f.lookupRequests <- "api"
	f.awaitQueries("api.", 3) // until it works again
	f.GoUp()
	f.SetAddrs("10.0.0.9")
	r.EventuallyServes(t, "10.0.0.9")
	isSpare.Store(false)
	f.SetAddrs("10.0.0.10")
	r.EventuallyServes(t, "10.0.0.10")
}

// TestDockersResolverThatForwardsANameKnowsNoContainerOfIt: when the last container of a name is gone, Docker asks external resolvers, which may
// fail. The last answer would send requests to an address that is nobody's, or another container's.
func TestDockersResolverThatForwardsANameKnowsNoContainerOfIt(t *testing.T) {
	f := newFakeDNS(t)
	f.SetAddrs("10.0.0.7")
	s := f.NewSource().(discovery.DNS)
	s.OwnName = "edge"
	f.update(func() { f.own = "edge." })
	r := sourcetest.Start(t, s)
	r.EventuallyServes(t, "10.0.0.7")
	f.GoDown() // for api alone
	start := time.Now()
	r.EventuallyServes(t)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the members were gone after %s", took)
	}
	f.GoUp()
	r.EventuallyServes(t, "10.0.0.7")
	f.update(func() { f.own, f.rcode = "", dns.RcodeServerFailure }) // the resolver itself fails
	before := 0
	f.update(func() { before = f.queryCount["api."] })
	for asked := before; asked < before+3; {
		f.update(func() { asked = f.queryCount["api."] })
	}
	r.EventuallyServes(t, "10.0.0.7")
}

func TestDNSLooksUpTheTasksOfASwarm(t *testing.T) {
	f := newFakeDNS(t)
	f.SetAddrs("10.0.0.7")
	s := f.NewSource().(discovery.DNS)
	s.Prefix = "tasks."
	r := sourcetest.Start(t, s)
	r.Eventually(t, "contact", func(s sourcetest.State) bool { return s.IsOnline && s.Members["api"] != nil })
	f.update(func() {
		if f.queryCount["tasks.api."] == 0 || f.queryCount["api."] > 0 {
			t.Errorf("the source asked for %v", f.queryCount)
		}
	})
}
