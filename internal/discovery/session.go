package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
	"go.uber.org/zap"
)

const (
	engineTimeout    = 5 * time.Second  // of a ping or a list
	pingInterval     = 10 * time.Second // a broken event stream may fall silent without an error
	fullListInterval = 60 * time.Second

	minReconnectDelay = 100 * time.Millisecond
	maxReconnectDelay = 5 * time.Second

	// reconnectGrace is how long the Docker Engine may be unreachable before the source goes offline and the registry uses DNS. DNS
	// knows neither which containers are stopping nor which are paused, so using it at every reconnect would send them requests.
	reconnectGrace = 2 * time.Second
)

// session is a running Engine source. It survives reconnects, so that it can resume the events and keep what they said. It is not
// safe for concurrent use.
type session struct {
	Engine
	sink          Sink
	publisher     *publisher
	index         *containerIndex
	lastEventTime int64       // time of the last event, in Unix nanoseconds by the Docker Engine's clock
	pendingList   listRequest // the containers to list next
	// awaitingList has the containers with an event that only a list of them can apply, and the time of the first such event.
	awaitingList map[string]int64
}

func newSession(e Engine, sink Sink) *session {
	return &session{
		Engine: e, sink: sink,
		publisher: newPublisher(sink, e.Names, e.Log),
		index:     newContainerIndex(scope{projects: e.Projects, networks: e.Networks}),

		awaitingList: make(map[string]int64),
	}
}

// run connects to the Docker Engine again and again until ctx ends.
func (s *session) run(ctx context.Context) {
	delay, online, lostAt := minReconnectDelay, false, time.Time{}
	for ctx.Err() == nil {
		connected, err := s.runConnection(ctx)
		if ctx.Err() != nil {
			return
		}
		if connected {
			delay, online = minReconnectDelay, true
		}
		if connected || lostAt.IsZero() {
			lostAt = time.Now()
			s.Log.Warn("cannot reach the Docker Engine; using DNS and the last known containers until it is back",
				zap.String("endpoint", s.DockerHost), zap.Error(err))
		}
		if online && time.Since(lostAt) > reconnectGrace {
			online = false
		}
		if !online {
			s.sink.SetOnline(false)
		}
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
		delay = min(2*delay, maxReconnectDelay)
	}
}

// runConnection uses one connection to the Docker Engine until it fails. connected reports whether the containers were listed.
func (s *session) runConnection(ctx context.Context) (connected bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	api, closeClient, err := newEngineClient(s.DockerHost)
	if err != nil {
		return false, err
	}
	defer closeClient()
	if err := ping(ctx, api); err != nil {
		return false, err
	}
	stream := api.Events(ctx, s.eventOptions())
	all, err := listContainers(ctx, api, nil)
	if err != nil {
		return false, err
	}
	s.publish(s.index.applyFullList(all, s.Subnets()))
	s.pendingList = listRequest{}
	s.endAwaitingList(nil)
	s.sink.SetOnline(true)
	s.Log.Info("connected to the Docker Engine", zap.String("endpoint", s.DockerHost),
		zap.Strings("projects", s.index.scope.served()), zap.Int("containers", len(s.index.containers)))

	queue := make(chan events.Message, 1024)
	var wg sync.WaitGroup
	wg.Go(func() { queueEvents(ctx, stream.Messages, queue) })
	defer wg.Wait()
	defer cancel()
	return true, s.followEvents(ctx, &asyncClient{api: api, wg: &wg, results: make(chan engineResult, 2)}, queue, stream.Err)
}

func newEngineClient(dockerHost string) (api *client.Client, closeClient func(), err error) {
	transport, err := newLimitTransport(dockerHost)
	if err != nil {
		return nil, nil, err
	}
	api, err = client.New(client.WithHost(dockerHost), client.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		transport.CloseIdleConnections()
		return nil, nil, err
	}
	return api, func() {
		_ = api.Close() // it closes idle connections, and never fails
		transport.CloseIdleConnections()
	}, nil
}

// eventOptions asks for the events after the last one, or from now on.
func (s *session) eventOptions() client.EventsListOptions {
	options := client.EventsListOptions{
		Filters: client.Filters{}.Add("type", "container", "network").Add("event", EventActions...),
	}
	if s.lastEventTime == 0 {
		s.lastEventTime = time.Now().UnixNano() // until the first event has the Docker Engine's own time
		return options
	}
	next := s.lastEventTime + 1
	options.Since = fmt.Sprintf("%d.%09d", next/1e9, next%1e9)
	return options
}

// followEvents applies events until the stream or the Docker Engine fails. It never waits for a response of the Docker Engine, so that
// no list delays the event that a container is told to stop.
func (s *session) followEvents(ctx context.Context, e *asyncClient, queue <-chan events.Message, streamErr <-chan error) error {
	pings, fullLists := time.NewTicker(pingInterval), time.NewTicker(fullListInterval)
	defer pings.Stop()
	defer fullLists.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-queue:
			s.applyEvents(batch(m, queue))
		case err := <-streamErr:
			if err == nil {
				err = errors.New("the event stream ended")
			}
			return err
		case <-pings.C:
			e.ping(ctx)
		case <-s.PingRequests:
			e.ping(ctx)
		case <-fullLists.C:
			s.pendingList.all = true
		case now := <-s.index.events.nextDeadline():
			s.applyDeadlines(now)
		case result := <-e.results:
			if result.err != nil {
				return result.err
			}
			s.applyResult(result)
		}
		s.pendingList = e.list(ctx, s.pendingList)
	}
}

func (s *session) applyDeadlines(now time.Time) {
	touched, relist := s.index.applyDeadlines(now)
	s.publish(touched)
	s.pendingList.add(relist...)
}

func (s *session) applyResult(result engineResult) {
	*result.inFlight = false
	switch {
	case !result.isList:
	case result.ids == nil:
		s.publish(s.index.applyFullList(result.items, s.Subnets()))
	default:
		s.publish(s.index.applyPartialList(result.ids, result.items, s.Subnets()))
	}
	if result.isList {
		s.endAwaitingList(result.ids)
	}
}

// endAwaitingList notes that containers have been listed; nil: all.
func (s *session) endAwaitingList(ids []string) {
	for id, event := range s.awaitingList {
		if ids == nil || slices.Contains(ids, id) {
			s.reportLag(event)
			delete(s.awaitingList, id)
		}
	}
}

// reportLag reports the time since an event, after it has taken effect. The clock of an Engine elsewhere may differ.
func (s *session) reportLag(event int64) {
	if s.OnApplied != nil && event > 0 {
		s.OnApplied(max(0, time.Duration(time.Now().UnixNano()-event)))
	}
}

func (s *session) publish(touched nameSet) { s.publisher.publish(s.index, touched) }

func ping(ctx context.Context, api *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	if _, err := api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return fmt.Errorf("ping the Docker Engine: %w", err)
	}
	return nil
}
