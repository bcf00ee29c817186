package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
	"go.uber.org/zap"
)

const (
	engineTimeout = 5 * time.Second  // for a ping or a list
	enginePing    = 10 * time.Second // a cut stream is silent
	engineList    = 60 * time.Second
)

// session is what an Engine source knows; it outlives reconnects, so that events can be resumed and changes compared.
type session struct {
	Engine
	sink   Sink
	roster *roster
	drains map[string]time.Time // container ID → when its stop is taken back
	looks  map[string]look      // container ID → when to list it again
	last   int64                // time of the last event seen, in Unix nanoseconds
	want   inquiry              // what is to be listed next

	complaints map[string]string // name → the problem that was logged for it
}

// run serves one connection to the Engine until it breaks. connected tells whether it ever stood.
func (s *session) run(ctx context.Context) (connected bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	transport, err := newBoundedTransport(s.Endpoint)
	if err != nil {
		return false, err
	}
	defer transport.CloseIdleConnections()
	api, err := client.New(client.WithHost(s.Endpoint), client.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		return false, err
	}
	defer api.Close()
	if err := ping(ctx, api); err != nil {
		return false, err
	}
	filters := client.Filters{}.Add("type", "container", "network").Add("event", EventActions...)
	options := client.EventsListOptions{Filters: filters}
	if s.last > 0 {
		next := s.last + 1
		options.Since = fmt.Sprintf("%d.%09d", next/1e9, next%1e9)
	}
	if s.last == 0 {
		s.last = time.Now().UnixNano() // until an event tells the Engine's own time
	}
	stream := api.Events(ctx, options)
	all, err := fetch(ctx, api, nil)
	if err != nil {
		return false, err
	}
	s.takeAll(all)
	s.want = inquiry{}
	s.sink.SetOnline(true)
	s.Log.Info("connected to the Docker Engine", zap.String("endpoint", s.Endpoint),
		zap.String("project", s.roster.inProject()), zap.Int("containers", len(s.roster.boxes)))
	queue := make(chan events.Message, 1024)
	var helpers sync.WaitGroup
	helpers.Go(func() { forward(ctx, stream.Messages, queue) })
	defer helpers.Wait()
	defer cancel()
	return true, s.follow(ctx, &inquirer{api: api, helpers: &helpers, answers: make(chan answer, 2)}, queue, stream.Err)
}

// forward queues events, so that a burst of them is read at once and costs few lists.
func forward(ctx context.Context, from <-chan events.Message, to chan<- events.Message) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-from:
			select {
			case to <- m:
			case <-ctx.Done():
				return
			}
		}
	}
}

// follow applies events until the stream or the Engine fails. It never waits for an answer of the Engine: an event that
// a container is told to stop must not stand behind a list.
func (s *session) follow(ctx context.Context, e *inquirer, queue <-chan events.Message, broken <-chan error) error {
	ping, list := time.NewTicker(enginePing), time.NewTicker(engineList)
	defer ping.Stop()
	defer list.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-queue:
			s.apply(batch(m, queue))
		case err := <-broken:
			if err == nil {
				err = errors.New("the event stream ended")
			}
			return err
		case <-ping.C:
			e.ping(ctx)
		case <-s.Doubts:
			e.ping(ctx) // its stream may have fallen silent without an end
		case <-list.C:
			s.want.all = true
		case now := <-s.nextDue():
			s.undoDrains(now)
			s.lookAgain(now)
		case a := <-e.answers:
			if a.err != nil {
				return a.err
			}
			s.take(a)
		}
		s.want = e.list(ctx, s.want)
	}
}

func ping(ctx context.Context, api *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	if _, err := api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return fmt.Errorf("ping the Docker Engine: %w", err)
	}
	return nil
}
