package discovery_test

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/registry"
)

// fakeDNS is a DNS server that knows api. and nothing else.
type fakeDNS struct {
	address        string
	lookupRequests chan string

	mu           sync.Mutex
	addrs        []string
	rcode        int // what is answered instead, when it is not success
	truncate     bool
	queryCount   map[string]int
	beforeAnswer func() // called before an answer is sent
}

func newFakeDNS(t *testing.T) *fakeDNS {
	t.Helper()
	w := &fakeDNS{lookupRequests: make(chan string, 1), queryCount: make(map[string]int)}
	udp, tcp := listenUDPAndTCP(t)
	w.address = udp.LocalAddr().String()
	for _, server := range []*dns.Server{{PacketConn: udp, Handler: w}, {Listener: tcp, Handler: w}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { _ = server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = server.Shutdown() })
	}
	return w
}

// listenUDPAndTCP listens on one port over UDP and TCP. A port that is free for the one may be taken for the other.
func listenUDPAndTCP(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	var err error
	for range 20 {
		var udp net.PacketConn
		if udp, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			break
		}
		var tcp net.Listener
		if tcp, err = net.Listen("tcp", udp.LocalAddr().String()); err == nil {
			return udp, tcp
		}
		_ = udp.Close() // it was only tried
	}
	t.Fatal(err)
	return nil, nil
}

func (w *fakeDNS) ServeDNS(out dns.ResponseWriter, q *dns.Msg) {
	if q.Question[0].Name == "silent." {
		return
	}
	answer, pause := w.buildAnswer(out, q)
	if pause != nil {
		pause()
	}
	if err := out.WriteMsg(answer); err != nil && !errors.Is(err, net.ErrClosed) {
		panic(err)
	}
}

// buildAnswer returns what is to be sent, after pause if that is not nil.
func (w *fakeDNS) buildAnswer(out dns.ResponseWriter, q *dns.Msg) (answer *dns.Msg, pause func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queryCount[q.Question[0].Name]++
	answer = new(dns.Msg).SetReply(q)
	_, overUDP := out.RemoteAddr().(*net.UDPAddr)
	switch {
	case w.rcode != dns.RcodeSuccess:
		answer.Rcode = w.rcode
	case q.Question[0].Name != "api." || len(w.addrs) == 0:
		answer.Rcode = dns.RcodeNameError
	case w.truncate && overUDP:
		answer.Truncated = true
	default:
		for _, text := range slices.Backward(w.addrs) { // Docker shuffles
			addr := netip.MustParseAddr(text)
			header := dns.RR_Header{Name: "api.", Class: dns.ClassINET, Ttl: 600}
			switch kind := q.Question[0].Qtype; {
			case addr.Is4() && kind == dns.TypeA:
				header.Rrtype = kind
				answer.Answer = append(answer.Answer, &dns.A{Hdr: header, A: addr.AsSlice()})
			case addr.Is6() && kind == dns.TypeAAAA:
				header.Rrtype = kind
				answer.Answer = append(answer.Answer, &dns.AAAA{Hdr: header, AAAA: addr.AsSlice()})
			}
		}
	}
	return answer, w.beforeAnswer
}

func (w *fakeDNS) newSource() discovery.Source {
	return discovery.DNS{Names: fakeNames{w.lookupRequests}, Resolver: w.address, Refresh: 10 * time.Millisecond, Subnets: subnets}
}

func (w *fakeDNS) update(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *fakeDNS) setAddrs(addrs ...string) { w.update(func() { w.addrs = addrs }) }
func (w *fakeDNS) goDown()                  { w.update(func() { w.rcode = dns.RcodeServerFailure }) }
func (w *fakeDNS) goUp()                    { w.update(func() { w.rcode = dns.RcodeSuccess }) }
func (*fakeDNS) isStatic() bool             { return false }

func TestDNSDropsAddressesOutsideSubnets(t *testing.T) {
	w := newFakeDNS(t)
	w.setAddrs("93.184.216.34", "10.0.0.7", "127.0.0.1")
	run(t, w).eventuallyServes(t, "10.0.0.7")
}

func TestDNSSortsAndDeduplicatesAddresses(t *testing.T) {
	w := newFakeDNS(t)
	w.setAddrs("10.0.0.9", "10.0.0.7", "10.0.0.9")
	r := run(t, w)
	r.eventuallyServes(t, "10.0.0.7", "10.0.0.9")
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.IsSortedFunc(r.names["api"], func(a, b registry.Member) int { return a.Addr.Compare(b.Addr) }) {
		t.Errorf("not sorted: %v", r.names["api"])
	}
}

func TestDNSRepeatsTruncatedAnswersOverTCP(t *testing.T) {
	w := newFakeDNS(t)
	w.truncate = true
	w.setAddrs("10.0.0.7")
	run(t, w).eventuallyServes(t, "10.0.0.7")
}

func TestDNSFallsBackToIPv6(t *testing.T) {
	w := newFakeDNS(t)
	w.setAddrs("fd00::7")
	source := w.newSource().(discovery.DNS)
	source.Subnets = func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("fd00::1/64")} }
	r := runSource(t, source)
	r.eventuallyServes(t, "fd00::7")
}

func TestDNSQueriesOnlyFullyQualifiedNames(t *testing.T) {
	w := newFakeDNS(t)
	r := run(t, w)
	r.eventuallyServes(t)
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.queryCount {
		if name != "api." {
			t.Errorf("asked for %q", name)
		}
	}
}

func TestSlowNameDoesNotDelayOthers(t *testing.T) {
	w := newFakeDNS(t)
	w.setAddrs("10.0.0.7")
	source := w.newSource().(discovery.DNS)
	source.Names = fixedNames{"silent", "api"} // the server does not answer for the first
	r := runSource(t, source)
	r.eventuallyServes(t, "10.0.0.7")
	for _, addr := range []string{"10.0.0.8", "10.0.0.9", "10.0.0.10"} {
		began := time.Now()
		w.setAddrs(addr)
		r.eventuallyServes(t, addr)
		if took := time.Since(began); took > time.Second {
			t.Errorf("a change took %s to be seen", took)
		}
	}
}

// fixedNames is names without nudges.
type fixedNames []string

func (l fixedNames) Hosts() []string             { return l }
func (fixedNames) LookupRequests() <-chan string { return nil }

func TestDNSAnswersLookupRequestsAtOnce(t *testing.T) {
	w := newFakeDNS(t)
	w.setAddrs("10.0.0.7")
	source := w.newSource().(discovery.DNS)
	source.Refresh = time.Hour
	r := runSource(t, source)
	r.eventuallyServes(t, "10.0.0.7")
	w.setAddrs("10.0.0.8")
	w.lookupRequests <- "api"
	r.eventuallyServes(t, "10.0.0.8")
}
