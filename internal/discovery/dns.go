package discovery

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/resource"
)

// Defaults of [DNS].
const (
	DefaultResolver  = "127.0.0.11:53"
	DefaultRefresh   = time.Second
	DefaultHostsFile = "/etc/hosts"

	dnsSpareRefresh      = 30 * time.Second
	dnsMaxStale          = 10 * time.Second // how long an answer is kept while the resolver fails
	maxConcurrentLookups = 16
)

// DNS asks a resolver, by default Docker's embedded one, for the host of every service: every Refresh, and at once on a lookup request.
// NXDOMAIN and an empty answer mean that the host has no members. While the resolver fails or does not answer, DNS keeps the last
// answer for 10 s. A host for which it is only the spare source is looked up every 30 s, if that works.
//
// Docker forwards names that it does not know to external resolvers, so DNS drops addresses outside Subnets. Docker also shuffles its
// answers, so DNS sorts them. It asks for fully qualified names: no search domain is appended.
//
// It does not look up a host with a project, "shop/web". An IP address is its own answer. A name in HostsFile has the addresses there, in any
// subnet: localhost, and the `extra_hosts` of a compose file, such as host.docker.internal.
type DNS struct {
	Names    Names
	Resolver string                // host:port; "": DefaultResolver
	Refresh  time.Duration         // 0: DefaultRefresh
	Subnets  func() []netip.Prefix // nil: LocalSubnets
	// HostsFile is a file of addresses and names, hosts(5); "": DefaultHostsFile.
	HostsFile string
	// Prefix is put before each host that is looked up, such as "tasks." for the addresses of a Swarm's tasks instead of a virtual one.
	Prefix string
	// OwnName is a name of the container that the edge runs in, which the resolver always knows; "": the host name, if the resolver is
	// DefaultResolver. It tells a resolver that has failed from one that has forwarded the name of a service without containers.
	OwnName string
	// IsSpare reports whether another source decides on a host now, so that nobody needs the answer; nil: none does.
	IsSpare func(host string) bool
	Log     *zap.Logger // nil: no log
}

// Run looks up the hosts until ctx ends.
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
	if d.OwnName == "" && d.Resolver == DefaultResolver {
		d.OwnName, _ = os.Hostname() // without it, a failed lookup says nothing
	}
	p := &dnsPoller{
		DNS: d, sink: sink, slots: make(chan struct{}, maxConcurrentLookups),
		inFlight: make(map[string]bool), failingSince: make(map[string]time.Time), answeredAt: make(map[string]time.Time),
	}
	p.run(ctx)
}

// dnsPoller is a running DNS source. Each host has a lookup of its own, at most one at a time, so that a slow answer delays no other
// host.
type dnsPoller struct {
	DNS
	sink  Sink
	slots chan struct{} // one value for each running lookup
	wg    sync.WaitGroup

	mu           sync.Mutex
	inFlight     map[string]bool      // hosts with a lookup in flight; true: look up again after it
	failingSince map[string]time.Time // hosts whose last lookup failed, and when the first one did since it last succeeded
	answeredAt   map[string]time.Time // when the last lookup of each host succeeded
	everAnswered bool                 // any lookup has ever succeeded
	subnets      []netip.Prefix       // none: Subnets has to be asked
	subnetsAt    time.Time            // when it was asked
}

func (p *dnsPoller) run(ctx context.Context) {
	defer p.wg.Wait()
	ticker := time.NewTicker(p.Refresh)
	defer ticker.Stop()
	hosts := p.Names.Hosts()
	if !slices.ContainsFunc(hosts, isLookedUp) {
		p.sink.SetOnline(true) // nobody has to wait for an answer
	}
	p.startLookups(ctx, hosts...)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			hosts := p.Names.Hosts()
			p.prune(hosts)
			p.refresh(ctx, hosts)
		case host := <-p.Names.LookupRequests():
			p.startLookups(ctx, host)
		}
	}
}

// startLookups looks up hosts in the background and sets their members.
func (p *dnsPoller) startLookups(ctx context.Context, hosts ...string) {
	if len(hosts) == 0 {
		return
	}
	subnets := p.localSubnets()
	for _, host := range hosts {
		if !isLookedUp(host) || !p.beginLookup(host) {
			continue
		}
		p.wg.Go(func() {
			for repeat := true; repeat; repeat = p.finishLookup(host) && ctx.Err() == nil {
				select {
				case p.slots <- struct{}{}:
					p.lookupHost(ctx, host, subnets)
					<-p.slots
				case <-ctx.Done():
				}
			}
		})
	}
}

// localSubnets returns the subnets, and asks for them again after dnsSpareRefresh, or if there were none.
func (p *dnsPoller) localSubnets() []netip.Prefix {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); len(p.subnets) == 0 || now.Sub(p.subnetsAt) >= dnsSpareRefresh {
		p.subnets, p.subnetsAt = p.Subnets(), now
	}
	return p.subnets
}

// forgetSubnets has the subnets asked for again.
func (p *dnsPoller) forgetSubnets() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.subnets = nil
}

// isLookedUp reports whether DNS may know a host. It knows no projects.
func isLookedUp(host string) bool { return !strings.Contains(host, "/") }

// refresh looks up the hosts that are due.
func (p *dnsPoller) refresh(ctx context.Context, hosts []string) {
	now := time.Now()
	p.startLookups(ctx, slices.DeleteFunc(slices.Clone(hosts), func(host string) bool { return !p.isDue(host, now) })...)
}

// isDue reports whether to look up a host again: not while a lookup is in flight, and less often while nobody needs the answer.
func (p *dnsPoller) isDue(host string, now time.Time) bool {
	isSpare := p.IsSpare != nil && p.IsSpare(host)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, isBusy := p.inFlight[host]; isBusy {
		return false
	}
	_, isFailing := p.failingSince[host]
	return !isSpare || isFailing || now.Sub(p.answeredAt[host]) >= dnsSpareRefresh
}

// beginLookup reports whether to look up a host now. While a lookup is in flight it returns false, and the host is looked up again
// after it: the answer may be older than the request.
func (p *dnsPoller) beginLookup(host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, isBusy := p.inFlight[host]; isBusy {
		p.inFlight[host] = true
		return false
	}
	p.inFlight[host] = false
	return true
}

// finishLookup ends a lookup, and reports whether to look up the host again.
func (p *dnsPoller) finishLookup(host string) (repeat bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if repeat = p.inFlight[host]; repeat {
		p.inFlight[host] = false
	} else {
		delete(p.inFlight, host)
	}
	return repeat
}

// prune removes the state of hosts that no service has any more. A host whose last lookup failed would count as failing for ever.
func (p *dnsPoller) prune(hosts []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := func(host string) bool { return !slices.Contains(hosts, host) }
	maps.DeleteFunc(p.failingSince, func(host string, _ time.Time) bool { return gone(host) })
	maps.DeleteFunc(p.answeredAt, func(host string, _ time.Time) bool { return gone(host) })
}

// lookupHost looks up a host and sets its members.
func (p *dnsPoller) lookupHost(ctx context.Context, host string, subnets []netip.Prefix) {
	start := time.Now()
	addrs, err := fixedAddresses(p.HostsFile, host)
	isFixed := len(addrs) > 0 // the operator has configured them
	switch {
	case err != nil || isFixed:
	case len(subnets) == 0: // nothing tells which addresses are containers
		err = errNoSubnets
	default:
		addrs, err = p.lookup(ctx, p.Prefix+host)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		p.handleFailure(host, start, err)
		return
	}
	p.mu.Lock()
	p.answeredAt[host], p.everAnswered = time.Now(), true
	_, wasFailing := p.failingSince[host]
	delete(p.failingSince, host)
	recovered := wasFailing && len(p.failingSince) == 0
	p.mu.Unlock()
	if recovered {
		p.Log.Info("the resolver answers again", zap.String("resolver", p.Resolver))
	}
	p.sink.Set(host, p.members(host, addrs, subnets, isFixed))
	p.sink.SetOnline(true)
}

// lookup asks the resolver for a host. Docker's resolver forwards a name without containers to external resolvers, which may fail, or not be
// there. If it then still knows the edge's own name, the host has no members.
func (p *dnsPoller) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	addrs, err := lookup(ctx, p.Resolver, host)
	if _, isExhausted := resource.Exhausted(err); err == nil || p.OwnName == "" || isExhausted {
		return addrs, err
	}
	if own, ownErr := lookup(ctx, p.Resolver, p.OwnName); ownErr == nil && len(own) > 0 {
		return nil, nil
	}
	return nil, err
}

var errNoSubnets = errors.New("cannot list the networks of this machine")

// members returns the members for an answer, sorted and without duplicates. It drops addresses outside the subnets, unless isFixed is
// set.
func (p *dnsPoller) members(host string, addrs []netip.Addr, subnets []netip.Prefix, isFixed bool) []registry.Member {
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	if isOutside := func(a netip.Addr) bool { return !inSubnets(a, subnets) }; !isFixed && slices.ContainsFunc(addrs, isOutside) {
		p.forgetSubnets() // the edge may be on another network by now
		subnets = p.localSubnets()
	}
	members := make([]registry.Member, 0, len(addrs))
	for _, addr := range addrs {
		if !isFixed && !inSubnets(addr, subnets) {
			if c := p.Log.Check(zap.DebugLevel, "dropped an address outside the edge's networks"); c != nil {
				c.Write(zap.String("name", host), zap.Stringer("address", addr))
			}
			continue
		}
		members = append(members, registry.Member{ID: addr.String(), Addr: addr, Phase: registry.Running})
	}
	return members
}

// handleFailure keeps the last answer for dnsMaxStale since the first lookup that failed, and then withdraws it.
func (p *dnsPoller) handleFailure(host string, start time.Time, err error) {
	p.mu.Lock()
	_, isKnown := p.answeredAt[host]
	_, isExhausted := resource.Exhausted(err) // the edge's own limits, which say nothing about the resolver
	isFirst := len(p.failingSince) == 0
	if _, wasFailing := p.failingSince[host]; !wasFailing {
		p.failingSince[host] = start
	}
	isStale := isKnown && time.Since(p.failingSince[host]) > dnsMaxStale && !isExhausted
	if isStale {
		delete(p.answeredAt, host)
	}
	everAnswered := p.everAnswered
	p.mu.Unlock()
	if !everAnswered {
		p.sink.SetOnline(false) // on a machine without Docker's resolver, the registry must not wait for it
	}
	if isFirst {
		p.Log.Warn("the resolver does not answer; keeping the last answers for a while",
			zap.String("resolver", p.Resolver), zap.String("name", host), zap.Duration("for", dnsMaxStale), zap.Error(err))
	}
	if isStale {
		p.sink.Withdraw(host)
	}
}

var _ Source = DNS{}
