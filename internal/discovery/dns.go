package discovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/resource"
)

// The defaults of [DNS].
const (
	DefaultResolver  = "127.0.0.11:53"
	DefaultRefresh   = time.Second
	DefaultHostsFile = "/etc/hosts"

	dnsTimeout           = 2 * time.Second
	dnsMaxStale          = 10 * time.Second // how long an answer outlives a resolver that fails
	maxConcurrentLookups = 16               // questions under way
)

// DNS asks a resolver, Docker's embedded one by default, for every name that services stand on: every Refresh, and
// at once when nudged. NXDOMAIN and an empty answer mean that nobody answers to the name; a resolver that fails or
// stays silent keeps the last answer for 10 s.
//
// Docker forwards names that it doesn't know to outside resolvers, so that answers outside Subnets are dropped, and
// its answers shuffle, so that they are sorted. Names are asked fully qualified: no search domain is tried.
//
// An IP address is its own answer, and a name in HostsFile has the addresses that it has there, in any subnet: localhost, and
// what `extra_hosts` in a compose file names, such as host.docker.internal.
type DNS struct {
	Names    Names
	Resolver string                // host:port; "": DefaultResolver
	Refresh  time.Duration         // 0: DefaultRefresh
	Subnets  func() []netip.Prefix // nil: LocalSubnets
	// HostsFile is a file of addresses and names, hosts(5); "": DefaultHostsFile.
	HostsFile string
	Log       *zap.Logger // nil: silent
}

// Run asks until ctx ends.
func (d DNS) Run(ctx context.Context, sink Sink) {
	if d.Resolver == "" {
		d.Resolver = DefaultResolver
	}
	if d.Refresh <= 0 {
		d.Refresh = DefaultRefresh
	}
	if d.Subnets == nil {
		d.Subnets = LocalSubnets
	}
	if d.HostsFile == "" {
		d.HostsFile = DefaultHostsFile
	}
	if d.Log == nil {
		d.Log = zap.NewNop()
	}
	a := &dnsPoller{
		DNS: d, sink: sink, slots: make(chan struct{}, maxConcurrentLookups),
		inFlight: make(map[string]bool), failing: make(map[string]bool), answeredAt: make(map[string]time.Time),
	}
	defer a.wg.Wait()
	ticker := time.NewTicker(d.Refresh)
	defer ticker.Stop()
	a.startLookups(ctx, d.Names.Hosts()...)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			hosts := d.Names.Hosts()
			a.prune(hosts)
			a.refresh(ctx, hosts)
		case host := <-d.Names.LookupRequests():
			a.startLookups(ctx, host)
		}
	}
}

// dnsPoller is a running DNS source. A name whose answer is slow holds up no other one: each has a question of its own under
// way, and one at the most.
type dnsPoller struct {
	DNS
	sink  Sink
	slots chan struct{}
	wg    sync.WaitGroup

	mu           sync.Mutex
	inFlight     map[string]bool      // names with a question under way; true: to be asked again after it
	failing      map[string]bool      // names whose last question was not answered
	answeredAt   map[string]time.Time // when each name was last answered
	everAnswered bool                 // something was answered at least once
}

// startLookups looks hosts up in the background and sets what comes back.
func (a *dnsPoller) startLookups(ctx context.Context, hosts ...string) {
	subnets := a.Subnets()
	for _, host := range hosts {
		if !a.beginLookup(host) {
			continue
		}
		a.wg.Go(func() {
			for again := true; again; again = a.finishLookup(host) && ctx.Err() == nil {
				select {
				case a.slots <- struct{}{}:
					a.lookupHost(ctx, host, subnets)
					<-a.slots
				case <-ctx.Done():
				}
			}
		})
	}
}

// refresh asks for names that nothing is known to have happened to: one with a question under way need not be asked for again.
func (a *dnsPoller) refresh(ctx context.Context, hosts []string) {
	a.mu.Lock()
	idle := slices.DeleteFunc(slices.Clone(hosts), func(host string) bool { _, busy := a.inFlight[host]; return busy })
	a.mu.Unlock()
	a.startLookups(ctx, idle...)
}

// beginLookup reports whether a name is to be asked for. While a question is under way it is not, but again after that: the answer may
// be of before what it is asked again for.
func (a *dnsPoller) beginLookup(host string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, busy := a.inFlight[host]; busy {
		a.inFlight[host] = true
		return false
	}
	a.inFlight[host] = false
	return true
}

// finishLookup ends a question, and reports whether the name is to be asked for again.
func (a *dnsPoller) finishLookup(host string) (again bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if again = a.inFlight[host]; again {
		a.inFlight[host] = false
	} else {
		delete(a.inFlight, host)
	}
	return again
}

// prune forgets what is known of names that no service stands on any more: one that failed last would count as failing for ever.
func (a *dnsPoller) prune(hosts []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	gone := func(host string) bool { return !slices.Contains(hosts, host) }
	maps.DeleteFunc(a.failing, func(host string, _ bool) bool { return gone(host) })
	maps.DeleteFunc(a.answeredAt, func(host string, _ time.Time) bool { return gone(host) })
}

func (a *dnsPoller) lookupHost(ctx context.Context, host string, subnets []netip.Prefix) {
	addrs, err := fixedAddresses(a.HostsFile, host)
	fixed := len(addrs) > 0 // the operator has written them down
	switch {
	case err != nil || fixed:
	case len(subnets) == 0: // it can't be known which of the answers are containers'
		err = errNoSubnets
	default:
		addrs, err = lookup(ctx, a.Resolver, host)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		a.handleFailure(host, err)
		return
	}
	a.mu.Lock()
	a.answeredAt[host], a.everAnswered = time.Now(), true
	recovered := a.failing[host] && len(a.failing) == 1
	delete(a.failing, host)
	a.mu.Unlock()
	if recovered {
		a.Log.Info("the resolver answers again", zap.String("resolver", a.Resolver))
	}
	a.sink.Set(host, a.members(host, addrs, subnets, fixed))
	a.sink.SetOnline(true)
}

var errNoSubnets = errors.New("this machine's own networks can't be listed")

// members turns an answer into members: sorted, and only where containers of the edge's own networks can be, unless it is
// fixed.
func (a *dnsPoller) members(host string, addrs []netip.Addr, subnets []netip.Prefix, fixed bool) []registry.Member {
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	members := make([]registry.Member, 0, len(addrs))
	for _, addr := range addrs {
		if !fixed && !inSubnets(addr, subnets) {
			if c := a.Log.Check(zap.DebugLevel, "dropped a foreign address"); c != nil {
				c.Write(zap.String("name", host), zap.Stringer("address", addr))
			}
			continue
		}
		members = append(members, registry.Member{ID: addr.String(), Addr: addr, Phase: registry.Running})
	}
	return members
}

// handleFailure keeps the last answer while it is fresh, and withdraws it when it is not.
func (a *dnsPoller) handleFailure(host string, err error) {
	a.mu.Lock()
	last, ever := a.answeredAt[host]
	_, ours := resource.Exhausted(err) // which says nothing about the resolver
	stale := ever && time.Since(last) > dnsMaxStale && !ours
	if stale {
		delete(a.answeredAt, host)
	}
	first := len(a.failing) == 0
	a.failing[host] = true
	spoke := a.everAnswered
	a.mu.Unlock()
	if !spoke {
		a.sink.SetOnline(false) // a machine without Docker's resolver: nobody need wait for it
	}
	if first {
		a.Log.Warn("the resolver does not answer; keeping what is known for a while",
			zap.String("resolver", a.Resolver), zap.String("name", host), zap.Duration("for", dnsMaxStale), zap.Error(err))
	}
	if stale {
		a.sink.Withdraw(host)
	}
}

// lookup asks for the addresses of host: IPv4, or IPv6 where there is no IPv4, so that a container counts once.
// No address and no error means that the name answers to nobody.
func lookup(ctx context.Context, resolver, host string) ([]netip.Addr, error) {
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		addrs, err := query(ctx, resolver, host, kind)
		if err != nil || len(addrs) > 0 {
			return addrs, err
		}
	}
	return nil, nil
}

func query(ctx context.Context, resolver, host string, kind uint16) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	question := new(dns.Msg).SetQuestion(dns.Fqdn(host), kind)
	question.SetEdns0(4096, false)
	answer, _, err := (&dns.Client{}).ExchangeContext(ctx, question, resolver)
	if err == nil && answer.Truncated {
		answer, _, err = (&dns.Client{Net: "tcp"}).ExchangeContext(ctx, question, resolver)
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s for %s: %w", resolver, host, err)
	}
	switch answer.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
		return addresses(answer), nil
	default:
		return nil, fmt.Errorf("ask %s for %s: %w", resolver, host, errors.New(dns.RcodeToString[answer.Rcode]))
	}
}

// addresses returns the addresses in an answer.
func addresses(answer *dns.Msg) []netip.Addr {
	var addrs []netip.Addr
	for _, record := range answer.Answer {
		var addr netip.Addr
		switch r := record.(type) {
		case *dns.A:
			addr, _ = netip.AddrFromSlice(r.A)
		case *dns.AAAA:
			addr, _ = netip.AddrFromSlice(r.AAAA)
		}
		if addr.IsValid() {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs
}

var _ Source = DNS{}
