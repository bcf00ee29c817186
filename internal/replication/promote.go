package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/theworklabs/edge/internal/hint"
)

// Promotion makes the replica the primary, and has the applications use it. It may be interrupted at any time, and called again.
type Promotion struct {
	Stack
	PrimaryIsOff bool          // the operator has seen to it that the primary's host does nothing, and will not
	MayLose      time.Duration // how long before the primary's end acknowledged commits may be lost
	Abort        bool          // end a promotion, if the applications do not use the new primary yet
	Timeout      time.Duration // how long a step may take

	isLossy bool // the old primary has commits that are given up
}

// Run promotes the replica.
func (p *Promotion) Run(ctx context.Context) error {
	if err := p.load(ctx); err != nil {
		return err
	}
	unlock, err := p.lock()
	if err != nil {
		return err
	}
	defer unlock()
	journal, err := p.readJournal()
	if err != nil {
		return err
	}
	switch {
	case p.Abort && journal == nil:
		return errors.New("no promotion is unfinished")
	case p.Abort:
		return p.abort(ctx, journal)
	case journal == nil:
		journal = &promotionJournal{From: p.config.Primary, To: p.config.Replica}
	case journal.To == p.config.Primary: // only the applications are left
		fmt.Fprintf(p.Out, "finishes the promotion of %s\n", journal.To)
		return p.finish(ctx, journal)
	case journal.To != p.config.Replica:
		return hint.New(fmt.Errorf("%s says that %s is being promoted, and %s is %s", journalFile, journal.To, ReplicaVariable, p.config.Replica), "remove that file if you have finished the promotion yourself")
	default:
		fmt.Fprintf(p.Out, "continues the promotion of %s\n", journal.To)
	}
	all, closeAll, err := openServers(p.config)
	if err != nil {
		return err
	}
	defer closeAll()
	if err := p.checkReplica(ctx, all, journal); err != nil {
		return err
	}
	old, err := p.checkOld(ctx, all, journal)
	if err != nil {
		return err
	}
	if p.isCompared(ctx, all, journal) {
		err = p.closeAgain(ctx, all, journal)
	} else {
		err = p.prepare(ctx, all, journal)
	}
	if err != nil {
		return err
	}
	return p.promote(ctx, all, journal, old)
}

// isCompared reports whether what an earlier call has compared still counts: it has stopped the old primary, the watcher has not run since then, so that nobody has
// gone back to it, and no replica was started again.
func (p *Promotion) isCompared(ctx context.Context, all []servers, journal *promotionJournal) bool {
	if !journal.Compared || !journal.Stopped {
		return false
	}
	state, err := p.readState(ctx)
	if err != nil || !timeOf(state).Equal(journal.StateTime) {
		return false
	}
	for _, s := range all {
		replica, err := s.replicaState(ctx)
		if err != nil || replica.IsReplica && replica.Started.Sub(journal.ReplicaStarted[s.Name]).Abs() > startSkew {
			return false
		}
	}
	return true
}

// timeOf returns when a state was written, which may be nil.
func timeOf(s *State) time.Time {
	if s == nil {
		return time.Time{}
	}
	return s.Time
}

// checkReplica fails if the replica's host cannot take over. A server that is no replica could be empty, or an old primary.
func (p *Promotion) checkReplica(ctx context.Context, all []servers, journal *promotionJournal) error {
	for _, s := range all {
		state, err := s.replicaState(ctx)
		if err != nil {
			return hint.New(fmt.Errorf("%s on %s: %w", s.Name, journal.To, short(err)), "the replica must run: docker compose up --detach there")
		}
		if !state.IsReplica && !slices.Contains(journal.Promoted, s.Name) {
			return hint.New(fmt.Errorf("%s on %s is not a replica", s.Name, journal.To), "edge replica rejoin makes it one; until then there is nothing to promote")
		}
	}
	return nil
}

// checkOld returns the host of the old primary, where it is stopped; nil if the operator says that it is off.
func (p *Promotion) checkOld(ctx context.Context, all []servers, journal *promotionJournal) (*host, error) {
	old := p.host(journal.From)
	err := old.responds(ctx)
	for _, service := range fencedServices() { // under this name, so that there is something to stop
		if err == nil {
			_, err = old.container(ctx, service)
		}
	}
	if err == nil {
		return old, nil
	}
	if !p.PrimaryIsOff {
		return nil, hint.New(fmt.Errorf("%s cannot be stopped: %w", journal.From, err), "is that the right way to its Engine (DATABASES_DOCKER), and the name of its project (DATABASES_PROJECT)? "+
			"If the machine has failed, or its databases were removed: switch it off, or cut its network, and then add --primary-is-off")
	}
	for _, s := range all {
		if _, err := s.primaryState(ctx); err == nil {
			return nil, hint.New(fmt.Errorf("%s on %s responds: that machine is not off", s.Name, journal.From), "switch it off, or set DATABASES_DOCKER so that it can be stopped")
		}
	}
	return nil, nil
}

// prepare ends the applications' way to the old primary, and compares what both have. If that is not enough, everything is as before.
func (p *Promotion) prepare(ctx context.Context, all []servers, journal *promotionJournal) error {
	if err := p.checkSwap(ctx); err != nil {
		return err
	}
	state, err := p.readState(ctx)
	if err == nil {
		err = p.checkLoss(ctx, all, state)
	}
	if err != nil {
		return err
	}
	err = p.close(ctx, journal)
	if err == nil {
		state, err = p.readState(ctx) // the last one, since what writes it is stopped
	}
	if err == nil {
		err = p.compare(ctx, all, state, journal)
	}
	if err == nil {
		journal.Compared, journal.Stopped, journal.StateTime = true, false, timeOf(state)
		return p.writeJournal(journal)
	}
	if len(journal.Promoted) > 0 { // by an earlier call: the way back would lead to two primaries
		return err
	}
	return errors.Join(err, p.reopen(context.WithoutCancel(ctx), journal))
}

// closeAgain does again what was done before a promotion was interrupted: somebody may have started the services meanwhile.
func (p *Promotion) closeAgain(ctx context.Context, all []servers, journal *promotionJournal) error {
	if err := p.close(ctx, journal); err != nil {
		return err
	}
	for _, s := range all {
		replica, err := s.replicaState(ctx)
		if err == nil && replica.IsReplica {
			_, err = p.catchUp(ctx, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fencedServices are what is stopped on the host of the old primary: first the only one that has a port.
func fencedServices() []string {
	services := []string{portService}
	for _, d := range Databases {
		services = append(services, d.Service)
	}
	return services
}

// promote does what cannot be taken back.
func (p *Promotion) promote(ctx context.Context, all []servers, journal *promotionJournal, old *host) error {
	if old != nil {
		err := p.step("stopped the databases on "+journal.From, func() error {
			return p.bounded(ctx, func(ctx context.Context) error { return old.stop(ctx, fencedServices()...) })
		})
		if err == nil {
			journal.Stopped = true
			err = p.writeJournal(journal)
		}
		if err != nil {
			return hint.New(err, "if it cannot be stopped: switch that machine off, and call it again with --primary-is-off")
		}
	}
	for _, s := range all {
		if !slices.Contains(journal.Promoted, s.Name) {
			journal.Promoted = append(journal.Promoted, s.Name)
			if err := p.writeJournal(journal); err != nil {
				return err
			}
		}
		if err := p.step(s.Name+": "+journal.To+" is the primary", func() error { return p.bounded(ctx, s.replica.Promote) }); err != nil {
			return hint.New(fmt.Errorf("%s on %s: %w", s.Name, journal.To, err), "call edge replica promote again")
		}
	}
	if err := p.setHosts(ctx, journal.To); err != nil {
		return err
	}
	return p.finish(ctx, journal)
}

func (p *Promotion) bounded(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.Timeout, fmt.Errorf("not done within %s", p.Timeout))
	defer cancel()
	return f(ctx)
}

// close closes the applications to visitors, and ends their way to the old primary.
func (p *Promotion) close(ctx context.Context, journal *promotionJournal) error {
	before, err := p.closedServices(ctx)
	if err != nil {
		fmt.Fprintf(p.Out, "warning: the edge shows no maintenance page: %v\n", err)
	} else {
		for _, service := range p.applications() {
			if !slices.Contains(before, service) && !slices.Contains(journal.Closed, service) {
				journal.Closed = append(journal.Closed, service)
			}
		}
	}
	// First the journal: what it does not name stays closed if this process ends here.
	if err := p.writeJournal(journal); err != nil {
		return err
	}
	return p.step("closed the applications' way to the databases", func() error {
		p.maintenance(ctx, "on", journal.Closed, "--message", "The databases of this application are being moved.")
		// The watcher first: from now on nothing changes what is known of the replica.
		for _, services := range [][]string{{watcherService}, p.databaseServices()} {
			if _, _, err := p.local().Run(ctx, p.Project.Args(append([]string{"stop", "--timeout", "1"}, services...)...)...); err != nil {
				return err
			}
		}
		closed, _ := p.closedServices(ctx) // none, if the edge does not answer
		isClosed := func(service string) bool { return slices.Contains(closed, service) }
		if len(journal.Closed) > 0 && !slices.ContainsFunc(journal.Closed, isClosed) { // some have no route, and so no page
			fmt.Fprintln(p.Out, "warning: the edge shows no maintenance page: none of the applications is in maintenance")
		}
		return nil
	})
}

// abort has the applications use the old primary again. No application has written to the new one yet: that would be after .env names it.
func (p *Promotion) abort(ctx context.Context, journal *promotionJournal) error {
	const finish = "edge replica promote finishes it; if that machine has failed, see docs/replication.md"
	if journal.To == p.config.Primary {
		return hint.New(fmt.Errorf("%s is the primary already", journal.To), finish)
	}
	all, closeAll, err := openServers(p.config)
	if err != nil {
		return err
	}
	defer closeAll()
	for _, s := range all {
		if state, err := s.replicaState(ctx); err == nil && !state.IsReplica && slices.Contains(journal.Promoted, s.Name) {
			return hint.New(fmt.Errorf("%s has begun to be the primary", journal.To), "edge replica promote finishes it; if a part of that machine has failed, stop its databases, and call it again")
		}
	}
	services := fencedServices()
	slices.Reverse(services)
	if err := p.host(journal.From).start(ctx, services...); err != nil {
		for _, s := range all { // it may never have been stopped
			if _, primaryErr := s.primaryState(ctx); primaryErr != nil {
				return hint.New(fmt.Errorf("the databases on %s cannot be started: %w", journal.From, err), "docker compose up --detach there; then call it again")
			}
		}
	}
	for _, s := range all { // the watcher would let them take writes after the applications are open
		err := p.bounded(ctx, func(ctx context.Context) error {
			return eventually(ctx, func(ctx context.Context) bool {
				_, err := s.primaryState(ctx)
				return err == nil && s.primary.SetWritable(ctx) == nil
			})
		})
		if err != nil {
			fmt.Fprintf(p.Out, "warning: %s on %s takes no writes yet: %v\n", s.Name, journal.From, err)
		}
	}
	if len(journal.Promoted) > 0 {
		fmt.Fprintf(p.Out, "note: %s has begun to be the primary: keep its databases off until edge replica rejoin --overwrite\n", journal.To)
	}
	return p.reopen(ctx, journal)
}

// reopen undoes close, after a promotion that was refused or given up.
func (p *Promotion) reopen(ctx context.Context, journal *promotionJournal) error {
	services := append([]string{watcherService}, p.databaseServices()...)
	if _, _, err := p.local().Run(ctx, p.Project.Args(append([]string{"up", "--detach", "--no-deps"}, services...)...)...); err != nil {
		return hint.New(err, "edge replica promote --abort opens the applications again")
	}
	p.open(ctx, journal)
	return p.removeJournal()
}

// finish starts the ways to the databases, and opens the applications.
func (p *Promotion) finish(ctx context.Context, journal *promotionJournal) error {
	err := p.step("the applications reach "+p.config.Primary, func() error {
		args := append([]string{"up", "--detach", "--no-deps", "--wait", "--wait-timeout", fmt.Sprint(int(p.Timeout.Seconds()))}, p.databaseServices()...)
		_, _, err := p.local().Run(ctx, p.Project.Args(args...)...)
		return err
	})
	_, _, watcherErr := p.local().Run(ctx, p.Project.Args("up", "--detach", "--no-deps", watcherService)...)
	if err := errors.Join(err, watcherErr); err != nil {
		return hint.New(err, "the applications are still closed; call edge replica promote again when the databases respond")
	}
	p.open(ctx, journal)
	if p.isLossy {
		fmt.Fprintf(p.Out, "note: %s may have commits that %s lacks: edge replica rejoin removes them, so copy its data first if you want to look for them\n", journal.From, journal.To)
	}
	return p.removeJournal()
}

// open ends the maintenance that close has begun.
func (p *Promotion) open(ctx context.Context, journal *promotionJournal) {
	p.maintenance(ctx, "off", journal.Closed)
	closed, err := p.closedServices(ctx)
	left := slices.DeleteFunc(closed, func(name string) bool { return !slices.Contains(journal.Closed, name) })
	if len(journal.Closed) > 0 && (err != nil || len(left) > 0) {
		fmt.Fprintln(p.Out, "warning: some services may still be in maintenance: docker compose exec edge edge maintenance")
	}
}

// roundUp returns a duration that a person types, and not less than d.
func roundUp(d time.Duration) time.Duration {
	unit := time.Minute
	if d > time.Hour {
		unit = 10 * time.Minute
	}
	return d.Truncate(unit) + unit
}
