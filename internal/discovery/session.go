package discovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
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
	last   int64                // time of the last event seen, in Unix nanoseconds

	complaints map[string]string // name → the problem that was logged for it
}

// EventActions are the Engine's events that change who can take requests. Those of exec are left out: health checks
// make them all the time, and they show command lines.
var EventActions = []string{
	"create", "start", "kill", "die", "oom", "stop", "destroy", "rename", "pause", "unpause", "update",
	"health_status", "connect", "disconnect",
}

// run serves one connection to the Engine until it breaks. connected tells whether it ever stood.
func (s *session) run(ctx context.Context) (connected bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	api, err := client.New(client.WithHost(s.Endpoint))
	if err != nil {
		return false, err
	}
	defer api.Close()
	if err := s.ping(ctx, api); err != nil {
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
	if err := s.list(ctx, api); err != nil {
		return false, err
	}
	s.sink.Online(true)
	s.Log.Info("connected to the Docker Engine", zap.String("endpoint", s.Endpoint),
		zap.String("project", s.roster.inProject()), zap.Int("containers", len(s.roster.boxes)))
	queue := make(chan events.Message, 1024)
	var pump sync.WaitGroup
	pump.Go(func() { forward(ctx, stream.Messages, queue) })
	defer pump.Wait()
	defer cancel()
	return true, s.follow(ctx, api, queue, stream.Err)
}

// forward queues events while a list is under way, so that a burst of them costs few lists.
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

// follow applies events until the stream or the Engine fails.
func (s *session) follow(ctx context.Context, api *client.Client, queue <-chan events.Message, broken <-chan error) error {
	ping, list := time.NewTicker(enginePing), time.NewTicker(engineList)
	defer ping.Stop()
	defer list.Stop()
	for {
		undo := s.nextUndo()
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-queue:
			err = s.apply(ctx, api, batch(m, queue))
		case err = <-broken:
			if err == nil {
				err = errors.New("the event stream ended")
			}
		case <-ping.C:
			err = s.ping(ctx, api)
		case <-list.C:
			err = s.list(ctx, api)
		case <-undo:
			s.undoDrains(time.Now())
		}
		if err != nil {
			return err
		}
	}
}

// batch returns m and all events that have arrived behind it, so that a burst costs one list.
func batch(m events.Message, more <-chan events.Message) []events.Message {
	all := []events.Message{m}
	for len(all) < 1000 {
		select {
		case m := <-more:
			all = append(all, m)
		default:
			return all
		}
	}
	return all
}

// apply takes in events in their order: what they say by themselves at once, the rest by listing the containers that
// they are about.
func (s *session) apply(ctx context.Context, api *client.Client, all []events.Message) error {
	unclear := make(map[string]struct{})
	touched := make(map[string]struct{})
	for _, m := range all {
		s.last = max(s.last, m.TimeNano)
		id := m.Actor.ID
		switch {
		case m.Type == events.NetworkEventType:
			unclear[m.Actor.Attributes["container"]] = struct{}{}
		case m.Action == events.ActionKill:
			if s.killed(id, m.Actor.Attributes) {
				touch(touched, s.roster.boxes[id].names)
			}
		case m.Action == events.ActionDie:
			delete(s.drains, id)
			delete(s.roster.leaving, id)
			if b, ok := s.roster.boxes[id]; ok {
				b.running = false
				touch(touched, s.roster.put(b))
			}
			unclear[id] = struct{}{}
		case m.Action == events.ActionDestroy:
			touch(touched, s.roster.drop(id))
		default:
			unclear[id] = struct{}{}
		}
	}
	s.publish(touched)
	delete(unclear, "")
	if len(unclear) == 0 {
		return nil
	}
	return s.listSome(ctx, api, slices.Collect(maps.Keys(unclear)))
}

// killed notes that a container got a signal, and reports whether it was told to stop by it.
func (s *session) killed(id string, attributes map[string]string) bool {
	exceptions := append(strings.Split(attributes[labelStopSignals], ","), s.StopSignals...)
	b, known := s.roster.boxes[id]
	if !known || !b.running || !tellsToStop(attributes["signal"], exceptions) {
		return false
	}
	s.roster.leaving[id] = struct{}{}
	s.drains[id] = time.Now().Add(s.DrainTimeout)
	return true
}

// nextUndo fires when the first stop has to be taken back.
func (s *session) nextUndo() <-chan time.Time {
	if len(s.drains) == 0 {
		return nil
	}
	first := slices.MinFunc(slices.Collect(maps.Values(s.drains)), time.Time.Compare)
	return time.After(time.Until(first))
}

// undoDrains takes back the stops of containers that have not died in time: the signal meant something else to them.
func (s *session) undoDrains(now time.Time) {
	touched := make(map[string]struct{})
	for id, end := range s.drains {
		if now.Before(end) {
			continue
		}
		delete(s.drains, id)
		delete(s.roster.leaving, id)
		touch(touched, s.roster.boxes[id].names)
	}
	s.publish(touched)
}

func (s *session) ping(ctx context.Context, api *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	if _, err := api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return fmt.Errorf("ping the Docker Engine: %w", err)
	}
	return nil
}

// list takes in all containers, and forgets those that are not listed.
func (s *session) list(ctx context.Context, api *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	found, err := api.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	touched := make(map[string]struct{})
	gone := maps.Clone(s.roster.boxes)
	for _, c := range found.Items {
		delete(gone, c.ID)
		if b, ok := newBox(c); ok {
			touch(touched, s.roster.put(b))
		}
	}
	for id := range gone {
		delete(s.drains, id)
		delete(s.roster.leaving, id)
		touch(touched, s.roster.drop(id))
	}
	s.roster.subnets = s.Subnets()
	s.roster.findOwn()
	s.publish(touched)
	return nil
}

// listSome looks again at a few containers.
func (s *session) listSome(ctx context.Context, api *client.Client, ids []string) error {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	found, err := api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("id", ids...)})
	if err != nil {
		return fmt.Errorf("list %d containers: %w", len(ids), err)
	}
	if !slices.Equal(s.roster.subnets, s.Subnets()) {
		return s.list(ctx, api) // the edge itself has joined or left a network: everyone may be in or out of reach
	}
	touched := make(map[string]struct{})
	for _, id := range ids {
		touch(touched, s.roster.boxes[id].names)
		i := slices.IndexFunc(found.Items, func(c container.Summary) bool { return c.ID == id })
		if i < 0 {
			s.roster.drop(id)
			continue
		}
		if b, ok := newBox(found.Items[i]); ok {
			touch(touched, s.roster.put(b))
		}
	}
	s.publish(touched)
	return nil
}

// publish tells the sink of every touched name.
func (s *session) publish(touched map[string]struct{}) {
	for name := range touched {
		members, problem := s.roster.members(name)
		if problem == "" {
			delete(s.complaints, name)
		} else if s.complaints[name] != problem {
			s.complaints[name] = problem
			s.Log.Error(problem, zap.String("name", name))
		}
		s.sink.Problem(name, problem)
		s.sink.Set(name, members)
	}
}

func touch(set map[string]struct{}, names []string) {
	for _, n := range names {
		set[n] = struct{}{}
	}
}
