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
	engineTimeout    = 5 * time.Second  // for a ping or a list
	pingInterval     = 10 * time.Second // a cut stream is silent
	fullListInterval = 60 * time.Second
)

// session is what an Engine source knows; it outlives reconnects, so that events can be resumed and changes compared.
type session struct {
	Engine
	sink                 Sink
	index                *containerIndex
	terminationDeadlines map[string]time.Time       // container ID → when its stop is taken back
	relists              map[string]scheduledRelist // container ID → when to list it again
	lastEventTime        int64                      // time of the last event seen, in Unix nanoseconds
	pendingList          listRequest                // what is to be listed next

	loggedProblems map[string]string // name → the problem that was logged for it
}

// runConnection serves one connection to the Engine until it breaks. connected tells whether it ever stood.
func (s *session) runConnection(ctx context.Context) (connected bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	transport, err := newLimitTransport(s.DockerHost)
	if err != nil {
		return false, err
	}
	defer transport.CloseIdleConnections()
	api, err := client.New(client.WithHost(s.DockerHost), client.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		return false, err
	}
	defer api.Close()
	if err := ping(ctx, api); err != nil {
		return false, err
	}
	filters := client.Filters{}.Add("type", "container", "network").Add("event", EventActions...)
	options := client.EventsListOptions{Filters: filters}
	if s.lastEventTime > 0 {
		next := s.lastEventTime + 1
		options.Since = fmt.Sprintf("%d.%09d", next/1e9, next%1e9)
	}
	if s.lastEventTime == 0 {
		s.lastEventTime = time.Now().UnixNano() // until an event tells the Engine's own time
	}
	stream := api.Events(ctx, options)
	all, err := listContainers(ctx, api, nil)
	if err != nil {
		return false, err
	}
	s.applyFullList(all)
	s.pendingList = listRequest{}
	s.sink.SetOnline(true)
	s.Log.Info("connected to the Docker Engine", zap.String("endpoint", s.DockerHost),
		zap.String("project", s.index.servedProject()), zap.Int("containers", len(s.index.containers)))
	queue := make(chan events.Message, 1024)
	var helpers sync.WaitGroup
	helpers.Go(func() { forward(ctx, stream.Messages, queue) })
	defer helpers.Wait()
	defer cancel()
	return true, s.followEvents(ctx, &asyncClient{api: api, wg: &helpers, results: make(chan engineResult, 2)}, queue, stream.Err)
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

// followEvents applies events until the stream or the Engine fails. It never waits for an answer of the Engine: an event that
// a container is told to stop must not stand behind a list.
func (s *session) followEvents(ctx context.Context, e *asyncClient, queue <-chan events.Message, broken <-chan error) error {
	ping, list := time.NewTicker(pingInterval), time.NewTicker(fullListInterval)
	defer ping.Stop()
	defer list.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-queue:
			s.applyEvents(batch(m, queue))
		case err := <-broken:
			if err == nil {
				err = errors.New("the event stream ended")
			}
			return err
		case <-ping.C:
			e.ping(ctx)
		case <-s.PingRequests:
			e.ping(ctx) // its stream may have fallen silent without an end
		case <-list.C:
			s.pendingList.all = true
		case now := <-s.nextDeadline():
			s.expireTerminations(now)
			s.queueDueRelists(now)
		case a := <-e.results:
			if a.err != nil {
				return a.err
			}
			s.handleResult(a)
		}
		s.pendingList = e.list(ctx, s.pendingList)
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
