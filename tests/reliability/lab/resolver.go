package lab

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Lie is a kind of answer of a Resolver.
type Lie int

// The right answer, and the wrong ones.
const (
	Truth   Lie = iota
	Silence     // no answer
	Empty       // NOERROR without an address
	Failure     // SERVFAIL
	Garbage     // bytes that are not a DNS message
	Foreign     // only a foreign address
	Mixed       // the right addresses and a foreign one
)

// foreignAddress is an address for documentation (RFC 5737): nothing answers there.
var foreignAddress = netip.MustParseAddr("198.51.100.7")

// Resolver is a DNS server that gives right or wrong answers. It is safe for concurrent use.
type Resolver struct {
	lookup func(ctx context.Context, name string) ([]string, error)
	conn   net.PacketConn
	server *dns.Server
	done   chan error

	mu       sync.Mutex
	lies     map[string]Lie
	cached   map[string][]string // name → addresses, because a lookup in the Docker Engine takes long
	cachedAt map[string]time.Time
}

// cacheTime is how long addresses are cached. (Docker's own DNS server sees a change at once.)
const cacheTime = 200 * time.Millisecond

// OpenResolver starts a DNS server on a free port of a host address. truth returns the addresses of a name; it may be slow.
func OpenResolver(host string, truth func(ctx context.Context, name string) ([]string, error)) (*Resolver, error) {
	conn, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	r := &Resolver{
		lookup: truth, conn: conn, done: make(chan error, 1),
		lies: make(map[string]Lie), cached: make(map[string][]string), cachedAt: make(map[string]time.Time),
	}
	r.server = &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(r.answer)}
	started := make(chan struct{})
	r.server.NotifyStartedFunc = func() { close(started) }
	go func() { r.done <- r.server.ActivateAndServe() }()
	select {
	case <-started:
		return r, nil
	case err := <-r.done:
		return nil, errors.Join(err, conn.Close())
	}
}

// Address returns the server's address, HOST:PORT.
func (r *Resolver) Address() string { return r.conn.LocalAddr().String() }

// SetLie sets the kind of answers for a name from now on.
func (r *Resolver) SetLie(name string, lie Lie) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lies[name] = lie
}

// Close stops the server and waits until it has ended.
func (r *Resolver) Close() error {
	return errors.Join(r.server.Shutdown(), <-r.done)
}

func (r *Resolver) answer(w dns.ResponseWriter, question *dns.Msg) {
	if len(question.Question) != 1 {
		return // no client sends such a message
	}
	name := strings.TrimSuffix(question.Question[0].Name, ".")
	r.mu.Lock()
	lie := r.lies[name]
	r.mu.Unlock()
	reply := new(dns.Msg).SetReply(question)
	switch lie {
	case Silence:
		return
	case Garbage:
		garbage := make([]byte, 40)
		_, _ = rand.Read(garbage) // never fails
		_, _ = w.Write(garbage)   // the client may have left
		return
	case Failure:
		reply.Rcode = dns.RcodeServerFailure
	case Empty:
	case Foreign:
		r.add(reply, question, foreignAddress.String())
	case Mixed:
		r.add(reply, question, append(r.addresses(name), foreignAddress.String())...)
	case Truth:
		addresses := r.addresses(name)
		if len(addresses) == 0 {
			reply.Rcode = dns.RcodeNameError
		}
		r.add(reply, question, addresses...)
	}
	_ = w.WriteMsg(reply) // the client may have left
}

// add adds addresses to the reply, with Docker's TTL.
func (*Resolver) add(reply, question *dns.Msg, addresses ...string) {
	if question.Question[0].Qtype != dns.TypeA {
		return
	}
	for _, a := range addresses {
		reply.Answer = append(reply.Answer, &dns.A{
			Hdr: dns.RR_Header{Name: question.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 600},
			A:   net.ParseIP(a),
		})
	}
}

// addresses returns the addresses of a service's containers.
func (r *Resolver) addresses(name string) []string {
	r.mu.Lock()
	isFresh := time.Since(r.cachedAt[name]) < cacheTime
	cached := r.cached[name]
	r.mu.Unlock()
	if isFresh {
		return cached
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	found, err := r.lookup(ctx, name)
	if err != nil {
		return cached // a container may have ended while docker inspected it
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cached[name], r.cachedAt[name] = found, time.Now()
	return found
}
