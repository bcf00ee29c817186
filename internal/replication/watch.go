package replication

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Watcher looks at both hosts each second, and writes what it sees to a file. It has commits wait for the replica as long as there is one, and lets the
// primary go on alone if the policy says so, after the file says it.
type Watcher struct {
	Config *Config
	File   string
	Log    *zap.Logger

	interval  time.Duration // 1 s; tests set it
	lostAfter time.Duration // [lostAfter]; tests set it
	databases []Database    // [Databases]; tests set it
}

// queryTimeout bounds how long a server may take to answer.
const queryTimeout = 5 * time.Second

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	w.setDefaults()
	state, err := ReadState(w.File)
	if err != nil {
		return err
	}
	state = w.begin(state, time.Now())
	if err := state.write(w.File, true); err != nil {
		return err
	}
	var mu sync.Mutex // guards state and the file
	save := func(isDurable bool) error {
		state.Time = time.Now()
		return state.write(w.File, isDurable)
	}
	var running sync.WaitGroup
	for _, d := range w.databases {
		running.Go(func() {
			p := &pair{watcher: w, database: d, log: w.Log.With(zap.String("database", d.Name))}
			defer p.close()
			for {
				seen := p.look(ctx)
				if ctx.Err() != nil {
					return
				}
				mu.Lock()
				own := *state.Databases[d.Name]
				mu.Unlock()
				next, action := p.decide(own, seen, time.Now())
				mu.Lock()
				*state.Databases[d.Name] = next
				err := save(next.Mode != own.Mode)
				mu.Unlock()
				if err != nil { // then nothing may change: a promotion would not know of it
					p.log.Error("the state cannot be written", zap.Error(err))
				} else if action != nil {
					p.log.Info(action.what)
					if err := p.act(ctx, action); err != nil && ctx.Err() == nil {
						p.log.Warn(action.what+" failed", zap.Error(err))
					}
				}
				select {
				case <-ctx.Done():
					return
				case <-time.After(w.interval):
				}
			}
		})
	}
	running.Wait()
	return nil
}

func (w *Watcher) setDefaults() {
	if w.interval == 0 {
		w.interval = time.Second
	}
	if w.lostAfter == 0 {
		w.lostAfter = lostAfter
	}
	if w.databases == nil {
		w.databases = Databases
	}
}

// begin returns the state to start with. What an earlier run has written is true as long as the primary is the same: only a watcher changes the mode.
func (w *Watcher) begin(earlier *State, now time.Time) *State {
	s := &State{Time: now, Primary: w.Config.Primary, Replica: w.Config.Replica, Policy: w.Config.Policy, Databases: make(map[string]*DatabaseState)}
	for _, d := range w.databases {
		switch {
		case earlier != nil && earlier.Primary == s.Primary && earlier.Databases[d.Name] != nil:
			s.Databases[d.Name] = earlier.Databases[d.Name]
			continue
		case earlier != nil && earlier.Primary == s.Replica:
			s.Databases[d.Name] = &DatabaseState{Mode: Alone, Since: now, Reason: fmt.Sprintf("%s was promoted, and %s does not follow it yet", s.Primary, s.Replica)}
		default:
			s.Databases[d.Name] = &DatabaseState{Mode: Alone, Since: now, Reason: fmt.Sprintf("%s has not followed it yet", s.Replica)}
		}
	}
	return s
}

// pair is a database on both hosts.
type pair struct {
	watcher          *Watcher
	database         Database
	log              *zap.Logger
	primary, replica Server // nil: not opened yet

	confirmed     int64     // the primary's counter when it last changed
	confirmedAt   time.Time // when that was, or when nothing waited
	lastConnected time.Time
	lastReconnect time.Time
	target        string // what the replica must have before it counts as in sync; "" if that is not known yet
}

func (p *pair) close() {
	for _, s := range []Server{p.primary, p.replica} {
		if s != nil {
			s.Close()
		}
	}
}

// seen is what both hosts say. The errors say why one does not.
type seen struct {
	primary    PrimaryState
	primaryErr error
	replica    ReplicaState
	replicaErr error
	hasTarget  bool // the replica has the target
}

func (p *pair) look(ctx context.Context) (s seen) {
	c := p.watcher.Config
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var both sync.WaitGroup
	both.Go(func() {
		if s.primaryErr = p.open(&p.primary, c.Primary); s.primaryErr == nil {
			s.primary, s.primaryErr = p.primary.Primary(ctx)
		}
	})
	both.Go(func() {
		if s.replicaErr = p.open(&p.replica, c.Replica); s.replicaErr == nil {
			s.replica, s.replicaErr = p.replica.Replica(ctx)
		}
		if s.replicaErr == nil && s.replica.IsReplica && p.target != "" {
			s.hasTarget, _ = p.replica.Has(ctx, p.target)
		}
	})
	both.Wait()
	return s
}

func (p *pair) open(s *Server, host string) (err error) {
	if *s == nil {
		*s, err = p.database.Open(p.watcher.Config, host)
	}
	return err
}

// action is what has to be done after the state is on the disk.
type action struct {
	what string
	do   func(ctx context.Context, p *pair) error
}

func (p *pair) act(ctx context.Context, a *action) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return a.do(ctx, p)
}

func setSynchronous(isSynchronous bool) func(context.Context, *pair) error {
	return func(ctx context.Context, p *pair) error { return p.primary.SetSynchronous(ctx, isSynchronous) }
}

// decide returns the state after what was seen, and what has to be done, if anything.
func (p *pair) decide(d DatabaseState, s seen, now time.Time) (DatabaseState, *action) {
	d.IsPrimaryUp = s.primaryErr == nil && !s.primary.IsReplica
	// A primary that writes nothing does not notice that its replica is gone; the replica does.
	hasLeft := s.replicaErr == nil && s.replica.IsReplica && !s.replica.IsConnected
	d.IsConnected = d.IsPrimaryUp && s.primary.IsConnected && !hasLeft && !p.isStuck(s.primary, now)
	d.Waiting, d.LagSeconds, d.Problem = s.primary.Waiting, s.replica.Lag.Seconds(), p.problem(d, s)
	if d.IsConnected || p.lastConnected.IsZero() {
		p.lastConnected = now
	}
	if !d.IsPrimaryUp {
		p.lastConnected, p.target = now, "" // a primary that comes back gives its replica time to connect
		return d, nil
	}
	if s.primary.IsReadOnly && s.replicaErr == nil && s.replica.IsWritable {
		d.Problem = fmt.Sprintf("%s takes writes, and %s says that %s is the primary: which one is right?", p.watcher.Config.Replica, HostVariable, p.watcher.Config.Primary)
		return d, nil
	}
	if s.primary.IsReadOnly {
		return d, &action{"the primary takes writes", func(ctx context.Context, p *pair) error { return p.primary.SetWritable(ctx) }}
	}
	if !s.primary.IsConnected && s.replica.IsReplica && s.replica.IsConnected && now.Sub(p.lastReconnect) > p.watcher.lostAfter {
		p.lastReconnect = now
		return d, &action{"the replica connects again, because it does not confirm", func(ctx context.Context, p *pair) error { return p.replica.Reconnect(ctx) }}
	}
	if d.Mode == Synchronous {
		return p.decideSynchronous(d, s, now)
	}
	return p.decideAlone(d, s, now)
}

// isStuck reports whether commits have waited for too long although the replica seems to be connected.
func (p *pair) isStuck(s PrimaryState, now time.Time) bool {
	if s.Waiting == 0 || s.Confirmed != p.confirmed || p.confirmedAt.IsZero() {
		p.confirmed, p.confirmedAt = s.Confirmed, now
	}
	return now.Sub(p.confirmedAt) > p.watcher.lostAfter/2
}

func (p *pair) decideSynchronous(d DatabaseState, s seen, now time.Time) (DatabaseState, *action) {
	p.target = ""
	lost := now.Sub(p.lastConnected)
	switch {
	case !s.primary.IsSynchronous: // somebody else has changed it
		d.Mode, d.Since, d.Reason = Alone, now, "somebody has set it so"
		return d, nil
	case lost > p.watcher.lostAfter && p.watcher.Config.Policy == Continue:
		d.Mode, d.Since, d.Reason = Alone, now, fmt.Sprintf("%s has not confirmed anything for %s", p.watcher.Config.Replica, p.watcher.lostAfter)
		return d, &action{"the primary goes on alone", setSynchronous(false)}
	}
	d.LastInSync = now // what is acknowledged is there, also while nothing can be
	return d, nil
}

// decideAlone has commits wait for the replica as soon as it is nearly up to date. The mode changes when it has everything that was acknowledged without it.
func (p *pair) decideAlone(d DatabaseState, s seen, now time.Time) (DatabaseState, *action) {
	canFollow := d.IsConnected && s.replicaErr == nil && s.replica.IsReplica
	switch {
	case !canFollow && s.primary.IsSynchronous:
		// After a restart of the primary, or the replica was lost before it had everything.
		p.target = ""
		if now.Sub(p.lastConnected) > p.watcher.lostAfter || !s.replica.IsReplica {
			return d, &action{"the primary goes on alone", setSynchronous(false)}
		}
	case !canFollow:
		p.target = ""
	case !s.primary.IsSynchronous:
		p.target = ""
		return d, &action{"commits wait for the replica", setSynchronous(true)}
	case !s.primary.IsInSync:
	case p.target == "":
		p.target = s.primary.Position
	case s.hasTarget:
		p.target = ""
		d.Mode, d.Since, d.LastInSync, d.Reason = Synchronous, now, now, ""
	}
	return d, nil
}

// problem returns what needs attention now.
func (p *pair) problem(d DatabaseState, s seen) string {
	c := p.watcher.Config
	switch {
	case s.primaryErr != nil:
		return fmt.Sprintf("the primary, %s, does not respond: %v", c.Primary, short(s.primaryErr))
	case s.primary.IsReplica:
		return fmt.Sprintf("%s is a replica, and %s says that it is the primary", c.Primary, HostVariable)
	case s.replicaErr != nil:
		return fmt.Sprintf("the replica, %s, does not respond: %v", c.Replica, short(s.replicaErr))
	case !s.replica.IsReplica:
		return fmt.Sprintf("%s is not a replica: edge replica rejoin", c.Replica)
	case s.replica.Problem != "":
		return fmt.Sprintf("the replica, %s: %s", c.Replica, s.replica.Problem)
	case !d.IsConnected:
		return fmt.Sprintf("the replica, %s, does not confirm", c.Replica)
	}
	return ""
}

// short returns an error without what it was wrapped in when a time ran out.
func short(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer")
	}
	return err
}
