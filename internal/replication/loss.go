package replication

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/hint"
)

// compare waits until the replica has everything that a primary has which responds, and otherwise fails if more may be lost than is allowed. It notes in the
// journal when the replicas were started.
func (p *Promotion) compare(ctx context.Context, all []servers, state *State, journal *promotionJournal) error {
	journal.ReplicaStarted = make(map[string]time.Time)
	for _, s := range all {
		replica, err := s.replicaState(ctx)
		if err != nil {
			return fmt.Errorf("%s on %s: %w", s.Name, journal.To, err)
		}
		if !replica.IsReplica { // promoted by an earlier call
			continue
		}
		journal.ReplicaStarted[s.Name] = replica.Started
		responds, err := p.catchUp(ctx, s)
		if err != nil {
			return err
		}
		if responds {
			continue
		}
		loss, why, err := p.allowedLoss(s, replica, state)
		if err != nil {
			return err
		}
		if p.isLossy = p.isLossy || loss > 0; loss > 0 {
			fmt.Fprintf(p.Out, "%s: the replica may lack commits of %s, which you allow: %s\n", s.Name, loss.Round(time.Second), why)
		} else {
			fmt.Fprintf(p.Out, "%s: the replica has every acknowledged commit\n", s.Name)
		}
	}
	return nil
}

// checkLoss fails if compare would, as far as that is known before anything is closed.
func (p *Promotion) checkLoss(ctx context.Context, all []servers, state *State) error {
	for _, s := range all {
		replica, err := s.replicaState(ctx)
		if err != nil {
			return err
		}
		if !replica.IsReplica {
			continue
		}
		if _, err := s.primaryState(ctx); err != nil {
			if _, _, err := p.allowedLoss(s, replica, state); err != nil {
				return err
			}
		} else if !replica.IsConnected {
			return hint.New(fmt.Errorf("%s: the primary responds, and the replica does not receive from it: %s", s.Name, replica.Problem), "mend the replica first: edge replica status")
		}
	}
	return nil
}

// allowedLoss returns of how much time the replica of a primary that does not respond may lack commits. It fails if that is more than may be lost.
func (p *Promotion) allowedLoss(s servers, replica ReplicaState, state *State) (loss time.Duration, why string, err error) {
	var d *DatabaseState
	if state != nil && state.Primary == p.config.Primary && state.Replica == p.config.Replica {
		d = state.Databases[s.Name]
	}
	if d == nil || d.LastInSync.IsZero() {
		return 0, "", hint.New(fmt.Errorf("%s: the primary does not respond, and the replica was never known to have everything", s.Name), "restore a backup instead: docs/disaster-recovery.md")
	}
	loss, why = lossOf(d, replica, s.Name == "mariadb")
	if loss > p.MayLose {
		return 0, "", hint.New(fmt.Errorf("%s: the primary does not respond, and the replica may lack commits of %s: %s", s.Name, loss.Round(time.Second), why),
			fmt.Sprintf("if they may be lost: --may-lose %s; the primary has them on its disks, if these can be read", roundUp(loss)))
	}
	return loss, why, nil
}

// startSkew is how much the start of a server may seem to differ, whose time is reckoned from the seconds that it has run.
const startSkew = 5 * time.Second

// lossOf returns of how much time the replica of a primary that is gone may lack commits. A server that discards what it has received when it starts may lack
// some, too.
func lossOf(d *DatabaseState, replica ReplicaState, discards bool) (loss time.Duration, why string) {
	var reasons []string
	if d.Mode != Synchronous {
		loss = max(time.Second, d.LastUp.Sub(d.LastInSync))
		reasons = append(reasons, "the primary was alone since "+d.LastInSync.Local().Format(time.DateTime))
	}
	if discards && replica.IsReplica && replica.Started.Sub(d.ReplicaStarted).Abs() > startSkew {
		loss += time.Duration(d.LagSeconds*float64(time.Second)) + time.Second
		reasons = append(reasons, "the replica was started again at "+replica.Started.Local().Format(time.DateTime)+", and discarded what it had not applied")
	}
	return loss, strings.Join(reasons, "; ")
}

// catchUp waits until the replica has everything that its primary has; responds is false if that one does not.
func (p *Promotion) catchUp(ctx context.Context, s servers) (responds bool, err error) {
	primary, err := s.primaryState(ctx)
	if err != nil {
		return false, nil
	}
	err = p.step(s.Name+": the replica has everything", func() error {
		return p.bounded(ctx, func(ctx context.Context) error {
			return eventually(ctx, func(ctx context.Context) bool {
				has, err := s.replica.Has(ctx, primary.Position)
				return err == nil && has
			})
		})
	})
	if err != nil {
		return true, hint.New(fmt.Errorf("%s: the replica does not get everything: %w", s.Name, err), "edge replica status says what is wrong with it")
	}
	return true, nil
}
