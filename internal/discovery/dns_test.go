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

// dnsWorld is a DNS server that knows api. and nothing else.
type dnsWorld struct {
	address string
	nudges  chan string

	mu       sync.Mutex
	addrs    []string
	rcode    int // what is answered instead, when it is not success
	truncate bool
	asked    map[string]int
	pause    func() // called before an answer is sent
}

func newDNSWorld(t *testing.T) *dnsWorld {
	t.Helper()
	w := &dnsWorld{nudges: make(chan string, 1), asked: make(map[string]int)}
	udp, tcp := listenTwice(t)
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

// listenTwice listens on one port over UDP and TCP. A port that is free for the one may be taken for the other.
func listenTwice(t *testing.T) (net.PacketConn, net.Listener) {
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

func (w *dnsWorld) ServeDNS(out dns.ResponseWriter, q *dns.Msg) {
	if q.Question[0].Name == "silent." {
		return
	}
	answer, pause := w.answer(out, q)
	if pause != nil {
		pause()
	}
	if err := out.WriteMsg(answer); err != nil && !errors.Is(err, net.ErrClosed) {
		panic(err)
	}
}

// answer returns what is to be sent, after pause if that is not nil.
func (w *dnsWorld) answer(out dns.ResponseWriter, q *dns.Msg) (answer *dns.Msg, pause func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked[q.Question[0].Name]++
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
	return answer, w.pause
}

func (w *dnsWorld) source() discovery.Source {
	return discovery.DNS{Names: names{w.nudges}, Resolver: w.address, Refresh: 10 * time.Millisecond, Subnets: subnets}
}

func (w *dnsWorld) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *dnsWorld) serve(addrs ...string) { w.set(func() { w.addrs = addrs }) }
func (w *dnsWorld) breakDown()            { w.set(func() { w.rcode = dns.RcodeServerFailure }) }
func (w *dnsWorld) mend()                 { w.set(func() { w.rcode = dns.RcodeSuccess }) }
func (*dnsWorld) fixed() bool             { return false }

func TestDNSDropsAnswersFromOutside(t *testing.T) {
	w := newDNSWorld(t)
	w.serve("93.184.216.34", "10.0.0.7", "127.0.0.1")
	run(t, w).serves(t, "10.0.0.7")
}

func TestDNSSortsAndCountsEachAddressOnce(t *testing.T) {
	w := newDNSWorld(t)
	w.serve("10.0.0.9", "10.0.0.7", "10.0.0.9")
	r := run(t, w)
	r.serves(t, "10.0.0.7", "10.0.0.9")
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.IsSortedFunc(r.names["api"], func(a, b registry.Member) int { return a.Addr.Compare(b.Addr) }) {
		t.Errorf("not sorted: %v", r.names["api"])
	}
}

func TestDNSAsksOverTCPWhenTheAnswerWasCut(t *testing.T) {
	w := newDNSWorld(t)
	w.truncate = true
	w.serve("10.0.0.7")
	run(t, w).serves(t, "10.0.0.7")
}

func TestDNSTakesIPv6WhereThereIsNoIPv4(t *testing.T) {
	w := newDNSWorld(t)
	w.serve("fd00::7")
	source := w.source().(discovery.DNS)
	source.Subnets = func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("fd00::1/64")} }
	r := runSource(t, source)
	r.serves(t, "fd00::7")
}

func TestDNSAsksFullyQualifiedNamesOnly(t *testing.T) {
	w := newDNSWorld(t)
	r := run(t, w)
	r.serves(t)
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.asked {
		if name != "api." {
			t.Errorf("asked for %q", name)
		}
	}
}

func TestASlowNameHoldsUpNoOtherOne(t *testing.T) {
	w := newDNSWorld(t)
	w.serve("10.0.0.7")
	source := w.source().(discovery.DNS)
	source.Names = listed{"silent", "api"} // the server does not answer for the first
	r := runSource(t, source)
	r.serves(t, "10.0.0.7")
	for _, addr := range []string{"10.0.0.8", "10.0.0.9", "10.0.0.10"} {
		began := time.Now()
		w.serve(addr)
		r.serves(t, addr)
		if took := time.Since(began); took > time.Second {
			t.Errorf("a change took %s to be seen", took)
		}
	}
}

// listed is names without nudges.
type listed []string

func (l listed) Hosts() []string             { return l }
func (listed) LookupRequests() <-chan string { return nil }

func TestDNSAsksAtOnceWhenNudged(t *testing.T) {
	w := newDNSWorld(t)
	w.serve("10.0.0.7")
	source := w.source().(discovery.DNS)
	source.Refresh = time.Hour
	r := runSource(t, source)
	r.serves(t, "10.0.0.7")
	w.serve("10.0.0.8")
	w.nudges <- "api"
	r.serves(t, "10.0.0.8")
}
