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
	Abort        bool          // end a promotion that has promoted nothing yet
	Timeout      time.Duration // how long a step may take
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
	case p.Abort && len(journal.Promoted) > 0:
		return hint.New(fmt.Errorf("%s has begun to be the primary", journal.To), "edge replica promote finishes it")
	case p.Abort:
		return p.reopen(ctx, journal)
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
	if journal.Compared {
		err = p.closeAgain(ctx, all, journal)
	} else {
		err = p.prepare(ctx, all, journal)
	}
	if err != nil {
		return err
	}
	return p.promote(ctx, all, journal, old)
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
	if err == nil {
		for _, service := range fencedServices() { // under this name, so that there is something to stop
			if _, err := old.container(ctx, service); err != nil {
				return nil, err
			}
		}
		return old, nil
	}
	if !p.PrimaryIsOff {
		return nil, hint.New(fmt.Errorf("%s cannot be stopped: %w", journal.From, err), "is that the right way to its Engine (DATABASES_DOCKER)? If the machine has failed: switch it off, or cut its network, and then add --primary-is-off")
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
		err = p.compare(ctx, all, state)
	}
	if err != nil {
		return errors.Join(err, p.reopen(context.WithoutCancel(ctx), journal))
	}
	journal.Compared = true
	return p.writeJournal(journal)
}

// closeAgain does again what was done before a promotion was interrupted: somebody may have started the services meanwhile.
func (p *Promotion) closeAgain(ctx context.Context, all []servers, journal *promotionJournal) error {
	if err := p.close(ctx, journal); err != nil {
		return err
	}
	return p.catchUpAll(ctx, all)
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
		return nil
	})
}

// compare waits until the replica has everything that a primary has which responds, and otherwise fails if more may be lost than is allowed.
func (p *Promotion) compare(ctx context.Context, all []servers, state *State) error {
	if err := p.catchUpAll(ctx, all); err != nil {
		return err
	}
	return p.checkLoss(ctx, all, state)
}

// catchUpAll waits until the replica has everything that a primary has which responds.
func (p *Promotion) catchUpAll(ctx context.Context, all []servers) error {
	for _, s := range all {
		if replica, err := s.replicaState(ctx); err != nil || !replica.IsReplica {
			continue // promoted by an earlier call
		}
		position, err := s.primaryState(ctx)
		if err != nil {
			continue
		}
		if err := p.step(s.Name+": the replica has everything", func() error { return p.catchUp(ctx, s, position.Position) }); err != nil {
			return hint.New(fmt.Errorf("%s: the replica does not get everything: %w", s.Name, err), "edge replica status says what is wrong with it")
		}
	}
	return nil
}

// checkLoss fails if a primary does not respond, and the replica may lack more than may be lost.
func (p *Promotion) checkLoss(ctx context.Context, all []servers, state *State) error {
	for _, s := range all {
		replica, err := s.replicaState(ctx)
		if err != nil {
			return err
		}
		if _, err := s.primaryState(ctx); err == nil {
			if !replica.IsConnected {
				return hint.New(fmt.Errorf("%s: the primary responds, and the replica does not receive from it: %s", s.Name, replica.Problem), "mend the replica first: edge replica status")
			}
			continue
		}
		var d *DatabaseState
		if state != nil && state.Primary == p.config.Primary && state.Replica == p.config.Replica {
			d = state.Databases[s.Name]
		}
		if d == nil || d.LastInSync.IsZero() {
			return hint.New(fmt.Errorf("%s: the primary does not respond, and the replica was never known to have everything", s.Name), "restore a backup instead: docs/disaster-recovery.md")
		}
		loss, why := lossOf(d, replica, s.Name == "mariadb")
		switch {
		case loss == 0:
			fmt.Fprintf(p.Out, "%s: the replica has every acknowledged commit\n", s.Name)
		case loss > p.MayLose:
			return hint.New(fmt.Errorf("%s: the primary does not respond, and the replica may lack commits of %s: %s", s.Name, loss.Round(time.Second), why),
				fmt.Sprintf("if they may be lost: --may-lose %s; the primary has them on its disks, if these can be read", roundUp(loss)))
		default:
			fmt.Fprintf(p.Out, "%s: the replica may lack commits of %s, which you allow: %s\n", s.Name, loss.Round(time.Second), why)
		}
	}
	return nil
}

// startSkew is how much the start of a server may seem to differ, whose time is reckoned from the seconds that it has run.
const startSkew = 5 * time.Second

// lossOf returns of how much time the replica of a primary that is gone may lack commits. A server that discards what it has received when it starts may lack
// some, too.
func lossOf(d *DatabaseState, replica ReplicaState, discards bool) (loss time.Duration, why string) {
	if d.Mode != Synchronous {
		return max(time.Second, d.LastUp.Sub(d.LastInSync)), "the primary was alone since " + d.LastInSync.Local().Format(time.DateTime)
	}
	if discards && replica.IsReplica && replica.Started.Sub(d.ReplicaStarted).Abs() > startSkew {
		return max(time.Second, time.Duration(d.LagSeconds*float64(time.Second))+time.Second), "the replica was started again at " + replica.Started.Local().Format(time.DateTime) + ", and discarded what it had not applied"
	}
	return 0, ""
}

// catchUp waits until the replica has everything up to a position.
func (p *Promotion) catchUp(ctx context.Context, s servers, position string) error {
	return p.bounded(ctx, func(ctx context.Context) error {
		return eventually(ctx, func(ctx context.Context) bool {
			has, err := s.replica.Has(ctx, position)
			return err == nil && has
		})
	})
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
