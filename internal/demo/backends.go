// Package demo is the stack that `edge demo` puts behind the edge: small, real servers on loopback, in one process, without Docker.
//
// They behave as BigCapital and Corteza do where an edge can tell: paths, health checks, Socket.IO sessions that
// one server keeps for itself, limits, status codes. What they know is made up.
package demo

import (
	"context"
	"errors"
	"sync"
)

// Backends are the demo's servers. Its methods are safe for concurrent use.
type Backends struct {
	endpoints map[string][]string
	backends  []*backend
	cancel    context.CancelFunc
	done      chan struct{} // closed when all have stopped
	err       error         // what stopping them came to; read after done
}

// Start listens on free loopback ports and serves until ctx ends or Close is called.
//
// It tells log what is worth a line ("socket connected"), with the name of the server, such as "bigcapital-server-2".
// log is called from several goroutines at once, must not block, and may be nil.
// An error means that nothing is left running.
func Start(ctx context.Context, log func(service, event string)) (*Backends, error) {
	if log == nil {
		log = func(string, string) {}
	}
	ctx, cancel := context.WithCancel(ctx)
	b := &Backends{endpoints: make(map[string][]string), cancel: cancel, done: make(chan struct{})}
	for _, app := range newApps(log) {
		started, err := startBackend(ctx, app)
		if err != nil {
			cancel()
			return nil, errors.Join(err, b.stop())
		}
		b.backends = append(b.backends, started)
		b.endpoints[app.service] = append(b.endpoints[app.service], started.address())
	}
	go func() {
		defer close(b.done)
		<-ctx.Done()
		b.err = b.stop()
	}()
	return b, nil
}

// newApps is what runs. The two BigCapital servers share their books, as the real ones share a database,
// and nothing else.
func newApps(log func(server, event string)) []app {
	books := newLedger()
	return []app{
		newBigCapital("bigcapital-server-1", books, log),
		newBigCapital("bigcapital-server-2", books, log),
		newWebApp(),
		newCorteza("corteza-server", log),
		newDocs(),
	}
}

// Endpoints maps each service that a route names, as host:port, to the loopback addresses that serve it.
// The map is the caller's.
func (b *Backends) Endpoints() map[string][]string {
	endpoints := make(map[string][]string, len(b.endpoints))
	for service, addresses := range b.endpoints {
		endpoints[service] = append([]string(nil), addresses...)
	}
	return endpoints
}

// Close stops all servers and waits for every goroutine: a moment if clients let go, a second or two if they don't.
// Further calls return what the first did.
func (b *Backends) Close() error {
	b.cancel()
	<-b.done
	return b.err
}

// stop ends all servers at once, since each may have to wait for its clients. Their context has ended.
func (b *Backends) stop() error {
	failures := make([]error, len(b.backends))
	var all sync.WaitGroup
	for i, backend := range b.backends {
		all.Go(func() { failures[i] = backend.stop() })
	}
	all.Wait()
	return errors.Join(failures...)
}
