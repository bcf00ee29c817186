// Package demo runs the backends of `edge demo`: small HTTP servers on loopback, in one process, without Docker.
//
// They behave like BigCapital and Corteza as far as an edge can observe: paths, health checks, Socket.IO sessions that only
// one server knows, limits and status codes. Their data is invented.
package demo

import (
	"context"
	"errors"
	"sync"
)

// Backends are the servers of the demo. It is safe for concurrent use.
type Backends struct {
	endpoints map[string][]string
	backends  []*backend
	cancel    context.CancelFunc
	done      chan struct{} // closed when all servers have stopped
	err       error         // of stopping them; read it after done
}

// Start starts the servers on free loopback ports. They serve until ctx ends or Close is called.
//
// log is called for each event that a user may want to see, such as "socket connected", with the name of the server, such as
// "bigcapital-server-2". It is called from several goroutines at once, must not block, and may be nil.
// If Start returns an error, it has stopped all servers.
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

// newApps returns the applications of the demo. The two BigCapital servers share a ledger, as the real ones share a
// database, and nothing else.
func newApps(log func(server, event string)) []app {
	shared := newLedger()
	return []app{
		newBigCapital("bigcapital-server-1", shared, log),
		newBigCapital("bigcapital-server-2", shared, log),
		newWebApp(),
		newCorteza("corteza-server", log),
		newDocs(),
	}
}

// Endpoints returns the loopback addresses of each service, by its host:port as routes name it. The caller may change the map.
func (b *Backends) Endpoints() map[string][]string {
	endpoints := make(map[string][]string, len(b.endpoints))
	for service, addresses := range b.endpoints {
		endpoints[service] = append([]string(nil), addresses...)
	}
	return endpoints
}

// Close stops all servers and waits for every goroutine. That takes a moment if the clients close their connections, and at
// most two seconds or so if they do not. Further calls return the same error.
func (b *Backends) Close() error {
	b.cancel()
	<-b.done
	return b.err
}

// stop stops all servers at the same time, since each may have to wait for its clients. Their context must have ended.
func (b *Backends) stop() error {
	failures := make([]error, len(b.backends))
	var all sync.WaitGroup
	for i, backend := range b.backends {
		all.Go(func() { failures[i] = backend.stop() })
	}
	all.Wait()
	return errors.Join(failures...)
}
