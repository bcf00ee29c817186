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
)

// fakeDNS is a DNS server that has addresses for api. only.
type fakeDNS struct {
	address        string
	lookupRequests chan string

	mu           sync.Mutex
	addrs        []string
	rcode        int            // the response code; without success there are no addresses
	own          string         // a name that has an address, whatever rcode is
	truncate     bool           // answers over UDP are truncated
	queryCount   map[string]int // by name
	beforeAnswer func()         // called before an answer is sent; may be nil
}

func newFakeDNS(t *testing.T) *fakeDNS {
	t.Helper()
	f := &fakeDNS{lookupRequests: make(chan string, 1), queryCount: make(map[string]int)}
	udp, tcp := listenUDPAndTCP(t)
	f.address = udp.LocalAddr().String()
	for _, server := range []*dns.Server{{PacketConn: udp, Handler: f}, {Listener: tcp, Handler: f}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { _ = server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = server.Shutdown() })
	}
	return f
}

// listenUDPAndTCP listens on one port over UDP and TCP. It tries several ports, because one that is free for UDP may be in use for TCP.
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
		_ = udp.Close() // another port is tried
	}
	t.Fatal(err)
	return nil, nil
}

func (f *fakeDNS) ServeDNS(out dns.ResponseWriter, q *dns.Msg) {
	if q.Question[0].Name == "silent." {
		return
	}
	answer, beforeAnswer := f.buildAnswer(out, q)
	if beforeAnswer != nil {
		beforeAnswer()
	}
	if err := out.WriteMsg(answer); err != nil && !errors.Is(err, net.ErrClosed) {
		panic(err)
	}
}

// buildAnswer returns the answer, and what to call before it is sent; nil for nothing.
func (f *fakeDNS) buildAnswer(out dns.ResponseWriter, q *dns.Msg) (answer *dns.Msg, beforeAnswer func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queryCount[q.Question[0].Name]++
	answer = new(dns.Msg).SetReply(q)
	_, isUDP := out.RemoteAddr().(*net.UDPAddr)
	switch {
	case f.own != "" && q.Question[0].Name == f.own:
		answer.Answer = append(answer.Answer, &dns.A{Hdr: dns.RR_Header{Name: f.own, Class: dns.ClassINET, Rrtype: dns.TypeA}, A: net.IPv4(10, 0, 0, 2)})
	case f.rcode != dns.RcodeSuccess:
		answer.Rcode = f.rcode
	case q.Question[0].Name != "api." || len(f.addrs) == 0:
		answer.Rcode = dns.RcodeNameError
	case f.truncate && isUDP:
		answer.Truncated = true
	default:
		for _, text := range slices.Backward(f.addrs) { // in another order, as Docker's answers may be
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
	return answer, f.beforeAnswer
}

func (f *fakeDNS) NewSource() discovery.Source {
	return discovery.DNS{Names: fakeNames{f.lookupRequests}, Resolver: f.address, Refresh: 10 * time.Millisecond, Subnets: subnets}
}

// fakeNames are the names that a DNS source looks up in tests.
type fakeNames struct{ lookupRequests chan string }

func (fakeNames) Hosts() []string                 { return []string{"api"} }
func (n fakeNames) LookupRequests() <-chan string { return n.lookupRequests }

// awaitQueries waits until there were n more queries for a name.
func (f *fakeDNS) awaitQueries(name string, n int) {
	for first := -1; ; time.Sleep(time.Millisecond) {
		now := 0
		f.update(func() { now = f.queryCount[name] })
		if first < 0 {
			first = now
		}
		if now >= first+n {
			return
		}
	}
}

func (f *fakeDNS) update(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeDNS) SetAddrs(addrs ...string) { f.update(func() { f.addrs = addrs }) }
func (f *fakeDNS) GoDown()                  { f.update(func() { f.rcode = dns.RcodeServerFailure }) }
func (f *fakeDNS) GoUp()                    { f.update(func() { f.rcode = dns.RcodeSuccess }) }
func (*fakeDNS) IsStatic() bool             { return false }
