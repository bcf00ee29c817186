package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/hint"
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

	hasNewerRival atomic.Bool   // as in seen; it is known of one database, and counts for all
	hasLooked     chan struct{} // is closed when that is known
	looked        sync.Once
}

// generationOf is the name of the database that knows which host was promoted last. See [ReplicaState.Generation].
const generationOf = "postgres"

// queryTimeout bounds how long a server may take to answer.
const queryTimeout = 5 * time.Second

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	w.setDefaults()
	earlier, err := ReadState(w.File)
	if err != nil { // then nothing is known of the replica
		w.Log.Error("the state cannot be read", zap.Error(err))
		earlier = nil
	}
	state, err := w.begin(earlier, time.Now())
	if err != nil {
		return err
	}
	if err := state.write(w.File); err != nil {
		return err
	}
	var mu sync.Mutex // guards state and the file
	save := func() error {
		state.Time = time.Now()
		return state.write(w.File)
	}
	var running sync.WaitGroup
	for _, d := range w.databases {
		running.Go(func() {
			p := &pair{watcher: w, database: d, log: w.Log.With(zap.String("database", d.Name)), unconfirmed: -1}
			defer p.close()
			if d.Name != generationOf { // which of both hosts was promoted last comes first
				select {
				case <-w.hasLooked:
				case <-time.After(2 * queryTimeout):
				case <-ctx.Done():
				}
			}
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
				err := save()
				mu.Unlock()
				p.logMode(own.Mode, next, err)
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

// logMode logs a change of the mode that is on the disk.
func (p *pair) logMode(before Mode, now DatabaseState, err error) {
	switch {
	case err != nil || before == now.Mode:
	case now.Mode == Alone:
		p.log.Warn("the primary is alone", zap.String("reason", now.Reason))
	default:
		p.log.Info("the replica has everything")
	}
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
	w.hasLooked = make(chan struct{})
}

// begin returns the state to start with. What an earlier run has written is true as long as both hosts are the same: only a watcher changes the mode.
func (w *Watcher) begin(earlier *State, now time.Time) (*State, error) {
	c := w.Config
	if earlier != nil {
		switch {
		case c.Epoch < earlier.Epoch:
			return nil, hint.New(fmt.Errorf("%s is %d, and was %d: this is an older .env, in which %s is the primary; it was %s", EpochVariable, c.Epoch, earlier.Epoch, c.Primary, earlier.Primary),
				"restore the .env that edge replica promote has written")
		case c.Epoch == earlier.Epoch && c.Primary != earlier.Primary:
			return nil, hint.New(fmt.Errorf("%s is %s, and was %s", HostVariable, c.Primary, earlier.Primary),
				fmt.Sprintf("edge replica promote changes it; if it is the same database under another address: %s=%d", EpochVariable, c.Epoch+1))
		}
	}
	s := &State{Time: now, Primary: c.Primary, Replica: c.Replica, Policy: c.Policy, Epoch: c.Epoch, Databases: make(map[string]*DatabaseState)}
	for _, d := range w.databases {
		switch {
		case earlier != nil && earlier.Primary == s.Primary && earlier.Replica == s.Replica && earlier.Databases[d.Name] != nil:
			s.Databases[d.Name] = earlier.Databases[d.Name]
		case earlier != nil && earlier.Primary == s.Replica:
			s.Databases[d.Name] = &DatabaseState{Mode: Alone, Since: now, Reason: fmt.Sprintf("%s was promoted, and %s does not follow it yet", s.Primary, s.Replica)}
		default:
			s.Databases[d.Name] = &DatabaseState{Mode: Alone, Since: now, Reason: fmt.Sprintf("%s has not followed it yet", s.Replica)}
		}
	}
	return s, nil
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
	isSettled     bool    // all of the primary goes by its present setting
	target        *string // what the replica must have before it counts as having everything; nil if that is not known yet
	unconfirmed   int64   // the primary's counter
	recentWaits   []waited
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
	primary       PrimaryState
	primaryErr    error
	replica       ReplicaState
	replicaErr    error
	hasTarget     bool // the replica has the target
	hasNewerRival bool // the other host was promoted after the primary's one was the primary
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
		if s.replicaErr == nil && s.replica.IsReplica && p.target != nil {
			s.hasTarget, _ = p.replica.Has(ctx, *p.target)
		}
	})
	both.Wait()
	if p.database.Name == generationOf && s.primaryErr == nil && s.replicaErr == nil { // else what was seen before counts
		isNewer := !s.replica.IsReplica && s.replica.Generation > s.primary.Generation
		if isNewer {
			tables, err := p.replica.Tables(ctx) // a server that is going to be a replica has none
			isNewer = err != nil || tables > 0
		}
		p.watcher.hasNewerRival.Store(isNewer)
		p.watcher.looked.Do(func() { close(p.watcher.hasLooked) })
	}
	s.hasNewerRival = p.watcher.hasNewerRival.Load() && (s.replicaErr != nil || !s.replica.IsReplica)
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
	what    string
	do      func(ctx context.Context, p *pair) error
	timeout time.Duration // queryTimeout if 0
}

func (p *pair) act(ctx context.Context, a *action) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(a.timeout, queryTimeout))
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
	d.WaitSeconds = p.longestWait(s.primary.Wait, now).Seconds()
	if d.IsConnected || p.lastConnected.IsZero() {
		p.lastConnected = now
	}
	if !d.IsPrimaryUp {
		p.lastConnected, p.target = now, nil // a primary that comes back gives its replica time to connect
		return d, nil
	}
	d.LastUp = now
	// A replica that was in sync, and is a primary now, may have been promoted: then this one must not go on. The same if its data is newer.
	switch c := p.watcher.Config; {
	case s.hasNewerRival:
		d.Problem = fmt.Sprintf("%s was promoted after %s was the primary, which it is by %s: is this an older .env? Use the one that edge replica promote has written; after a promotion that was given up: edge replica rejoin --overwrite", c.Replica, c.Primary, HostVariable)
		p.target = nil
		return d, nil
	case s.replicaErr != nil || !s.replica.IsWritable:
	case !d.LastInSync.IsZero():
		d.Problem = fmt.Sprintf("%s takes writes, and %s says that %s is the primary: was a promotion interrupted? edge replica promote finishes it; after one that was given up: edge replica rejoin", c.Replica, HostVariable, c.Primary)
		p.target = nil
		return d, nil
	}
	if s.primary.IsReadOnly {
		if d.Problem == "" {
			d.Problem = fmt.Sprintf("the primary, %s, takes no writes yet", p.watcher.Config.Primary)
		}
		return d, &action{what: "the primary takes writes", do: func(ctx context.Context, p *pair) error { return p.primary.SetWritable(ctx) }}
	}
	if s.replica.IsReplica && (s.replica.IsStopped || !s.primary.IsConnected && s.replica.IsConnected) && now.Sub(p.lastReconnect) > p.watcher.lostAfter {
		p.lastReconnect = now
		return d, &action{what: "the replica connects again", do: func(ctx context.Context, p *pair) error { return p.replica.Reconnect(ctx) }}
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
	p.isSettled = false
	lost := now.Sub(p.lastConnected)
	hasEscaped := s.primary.Unconfirmed > p.unconfirmed && p.unconfirmed >= 0
	p.unconfirmed = s.primary.Unconfirmed
	alone := func(reason string) DatabaseState {
		p.target = nil
		d.Mode, d.Since, d.Reason = Alone, now, reason
		d.TimesAlone++
		return d
	}
	switch {
	case !s.primary.IsSynchronous: // somebody else has changed it
		return alone("somebody has set it so"), nil
	case hasEscaped: // a client was killed while it waited
		return alone("a commit was acknowledged that the replica had not confirmed"), nil
	case lost > p.watcher.lostAfter && p.watcher.Config.Policy == Continue:
		reason := fmt.Sprintf("%s has not confirmed anything for %s", p.watcher.Config.Replica, p.watcher.lostAfter)
		return alone(reason), &action{what: "the primary goes on alone", do: setSynchronous(false)}
	}
	d.LastInSync = now // what is acknowledged is there, also while nothing can be
	switch hasRestarted := s.replica.Started.Sub(d.ReplicaStarted).Abs() > startSkew; {
	case !d.IsConnected || s.replicaErr != nil || s.replica.Started.IsZero() || !hasRestarted:
		p.target = nil
	case p.target == nil: // what it has discarded when it was started, it has to receive again first
		p.target = &s.primary.Position
	case s.hasTarget:
		d.ReplicaStarted, p.target = s.replica.Started, nil
	}
	return d, nil
}

// settleTimeout bounds how long a checkpoint of PostgreSQL may take.
const settleTimeout = 5 * time.Minute

// decideAlone has commits wait for the replica as soon as it is nearly up to date. The mode changes when it has everything that was acknowledged without it.
func (p *pair) decideAlone(d DatabaseState, s seen, now time.Time) (DatabaseState, *action) {
	p.unconfirmed = -1
	canFollow := d.IsConnected && s.replicaErr == nil && s.replica.IsReplica && s.replica.IsConnected
	if !canFollow || !s.primary.IsSynchronous {
		p.target, p.isSettled = nil, false
	}
	switch {
	case !canFollow && s.primary.IsSynchronous:
		// After a restart of the primary, or the replica was lost before it had everything.
		if now.Sub(p.lastConnected) > p.watcher.lostAfter || !s.replica.IsReplica {
			return d, &action{what: "the primary goes on alone", do: setSynchronous(false)}
		}
	case !canFollow:
	case !s.primary.IsSynchronous:
		return d, &action{what: "commits wait for the replica", do: setSynchronous(true)}
	case !s.primary.IsInSync:
	case !p.isSettled:
		return d, &action{what: "all commits wait for the replica", timeout: settleTimeout, do: func(ctx context.Context, p *pair) error {
			err := p.primary.Settle(ctx)
			p.isSettled = err == nil
			return err
		}}
	case p.target == nil:
		if s.primary.Position != "" { // else it has not had a commit
			p.target = &s.primary.Position
		}
	case s.hasTarget:
		p.target = nil
		d.Mode, d.Since, d.LastInSync, d.Reason = Synchronous, now, now, ""
		d.ReplicaStarted = s.replica.Started
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
