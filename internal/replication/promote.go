package replication

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/hint"
)

// Promotion makes the replica the primary, and has the applications use it. It may be interrupted at any time, and called again.
type Promotion struct {
	Stack
	PrimaryIsOff bool          // the operator has seen to it that the primary's host does nothing, and will not
	MayLose      time.Duration // how long before the primary's end acknowledged commits may be lost
	Timeout      time.Duration // how long a step may take
}

// journalFile is in the project's directory while a promotion is not finished.
const journalFile = ".edge-promotion"

// promotionJournal is what a promotion that is called again has to know: .env may name the new primary already.
type promotionJournal struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	Closed   []string `json:"closed"`   // what it has put into maintenance
	Promoted []string `json:"promoted"` // the databases whose promotion has begun
}

// Run promotes the replica.
func (p *Promotion) Run(ctx context.Context) error {
	if err := p.load(ctx); err != nil {
		return err
	}
	journal, err := p.readJournal()
	if err != nil {
		return err
	}
	config := p.config
	switch {
	case journal == nil:
		journal = &promotionJournal{From: config.Primary, To: config.Replica}
	case journal.To == config.Primary: // all but the last steps are done
		config = config.Swapped()
	case journal.To != config.Replica:
		return hint.New(fmt.Errorf("%s says that %s is being promoted, and %s is %s", journalFile, journal.To, ReplicaVariable, config.Replica), "remove that file if you have finished the promotion yourself")
	default:
		fmt.Fprintf(p.Out, "continues the promotion of %s\n", journal.To)
	}
	all, closeAll, err := open(config)
	if err != nil {
		return err
	}
	defer closeAll()
	old := p.host(journal.From)
	if err := p.checkReplica(ctx, all, journal); err != nil {
		return err
	}
	oldErr := old.responds(ctx)
	if oldErr != nil && !p.PrimaryIsOff {
		return hint.New(fmt.Errorf("%s cannot be stopped: %w", journal.From, oldErr),
			"switch that machine off, or pull its network cable, and then add --primary-is-off")
	}
	if p.config.Primary != journal.To {
		if err := p.close(ctx, journal); err != nil {
			return err
		}
		if err := p.checkLoss(ctx, all, journal); err != nil {
			return errors.Join(err, p.reopen(ctx, journal))
		}
	}
	if oldErr == nil {
		if err := p.step("stopped the databases on "+journal.From, func() error { return old.stop(ctx, fencedServices()...) }); err != nil {
			return err
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
			return fmt.Errorf("%s on %s: %w", s.Name, journal.To, err)
		}
	}
	if p.config.Primary != journal.To {
		if err := p.swapVariables(ctx); err != nil {
			return err
		}
	}
	return p.finish(ctx, journal)
}

// fencedServices are what is stopped on the host of the old primary: first the only one that has a port.
func fencedServices() []string {
	services := []string{portService}
	for _, d := range Databases {
		services = append(services, d.Service)
	}
	return services
}

func (p *Promotion) bounded(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.Timeout, fmt.Errorf("not done within %s", p.Timeout))
	defer cancel()
	return f(ctx)
}

// checkReplica fails if the replica's host cannot take over. A server that is no replica could be empty, or an old primary.
func (p *Promotion) checkReplica(ctx context.Context, all []servers, journal *promotionJournal) error {
	for _, s := range all {
		ctx, cancel := context.WithTimeout(ctx, queryTimeout)
		state, err := s.replica.Replica(ctx)
		cancel()
		if err != nil {
			return hint.New(fmt.Errorf("%s on %s: %w", s.Name, journal.To, short(err)), "the replica must run: docker compose up --detach there")
		}
		if !state.IsReplica && !slices.Contains(journal.Promoted, s.Name) {
			return hint.New(fmt.Errorf("%s on %s is not a replica", s.Name, journal.To), "edge replica rejoin makes it one; until then there is nothing to promote")
		}
	}
	return nil
}

// close closes the applications to visitors, and ends their way to the old primary.
func (p *Promotion) close(ctx context.Context, journal *promotionJournal) error {
	before := p.closedServices(ctx)
	for _, service := range p.applications() {
		if !slices.Contains(before, service) && !slices.Contains(journal.Closed, service) {
			journal.Closed = append(journal.Closed, service)
		}
	}
	// First the journal: what it does not name stays closed if this process ends here.
	if err := p.writeJournal(journal); err != nil {
		return err
	}
	return p.step("closed the applications' way to the databases", func() error {
		journal.Closed = p.maintenance(ctx, "on", journal.Closed, "--message", "The databases of this application are being moved.")
		if err := p.writeJournal(journal); err != nil {
			return err
		}
		// The watcher first: from now on nothing changes what is known of the replica.
		args := append([]string{"stop", "--timeout", "1"}, append([]string{watcherService}, p.databaseServices()...)...)
		_, _, err := p.local().Run(ctx, p.Project.Args(args...)...)
		return err
	})
}

// closedServices returns the services that are in maintenance already.
func (p *Promotion) closedServices(ctx context.Context) (names []string) {
	out, _, err := p.local().Run(ctx, p.Project.Args("exec", "--no-TTY", p.Edge, "edge", "maintenance", "--json")...)
	if err != nil {
		return nil
	}
	var answer struct {
		Services []struct{ Service string }
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return nil
	}
	for _, s := range answer.Services {
		name, _, _ := strings.Cut(s.Service, ":")
		if _, after, hasProject := strings.Cut(name, "/"); hasProject {
			name = after
		}
		names = append(names, name)
	}
	return names
}

// checkLoss fails if the replica lacks more than may be lost.
func (p *Promotion) checkLoss(ctx context.Context, all []servers, journal *promotionJournal) error {
	state, err := p.readState(ctx)
	if err != nil {
		return err
	}
	for _, s := range all {
		replica, err := p.replicaState(ctx, s)
		if err != nil {
			return err
		}
		if !replica.IsReplica { // promoted by an earlier call
			continue
		}
		position, err := p.position(ctx, s)
		if err == nil {
			if err := p.step(s.Name+": "+journal.To+" has everything", func() error { return p.catchUp(ctx, s, position) }); err == nil {
				continue
			}
		}
		var d *DatabaseState
		if state != nil && state.Primary == journal.From {
			d = state.Databases[s.Name]
		}
		switch {
		case d == nil || d.LastInSync.IsZero():
			return hint.New(fmt.Errorf("%s: %s was never known to have everything", s.Name, journal.To), "restore a backup instead: docs/disaster-recovery.md")
		case d.Mode == Synchronous:
			fmt.Fprintf(p.Out, "%s: %s has every acknowledged commit\n", s.Name, journal.To)
			continue
		}
		alone := time.Since(d.LastInSync).Round(time.Second)
		if alone > p.MayLose {
			return hint.New(fmt.Errorf("%s: %s lacks what was committed after %s: the primary went on alone, and does not respond", s.Name, journal.To, d.LastInSync.Local().Format(time.DateTime)),
				fmt.Sprintf("if that may be lost: --may-lose %s; what the primary has is on its disks, if they can be read", roundUp(alone)))
		}
		fmt.Fprintf(p.Out, "%s: what was committed after %s is lost, as you have allowed\n", s.Name, d.LastInSync.Local().Format(time.DateTime))
	}
	return nil
}

func (p *Promotion) replicaState(ctx context.Context, s servers) (ReplicaState, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return s.replica.Replica(ctx)
}

// position returns the end of the primary's log.
func (p *Promotion) position(ctx context.Context, s servers) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	state, err := s.primary.Primary(ctx)
	if err == nil && state.IsReplica {
		err = errors.New("it is a replica")
	}
	return state.Position, err
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

// reopen undoes close, after a promotion that was refused.
func (p *Promotion) reopen(ctx context.Context, journal *promotionJournal) error {
	return p.finish(context.WithoutCancel(ctx), journal)
}

// finish starts the ways to the databases, and opens the applications.
func (p *Promotion) finish(ctx context.Context, journal *promotionJournal) error {
	services := p.databaseServices()
	err := p.step("the applications reach "+p.config.Primary, func() error {
		args := append([]string{"up", "--detach", "--no-deps", "--wait", "--wait-timeout", fmt.Sprint(int(p.Timeout.Seconds()))}, services...)
		_, _, err := p.local().Run(ctx, p.Project.Args(args...)...)
		return err
	})
	_, _, watcherErr := p.local().Run(ctx, p.Project.Args("up", "--detach", "--no-deps", watcherService)...)
	if err := errors.Join(err, watcherErr); err != nil {
		return hint.New(err, "the applications are still closed; call edge replica promote again when the databases respond")
	}
	if open := p.maintenance(ctx, "off", journal.Closed); len(open) < len(journal.Closed) {
		fmt.Fprintln(p.Out, "warning: some services are still in maintenance: docker compose exec edge edge maintenance")
	}
	return os.Remove(p.journalPath())
}

func (p *Promotion) journalPath() string { return filepath.Join(p.directory, journalFile) }

func (p *Promotion) readJournal() (*promotionJournal, error) {
	text, err := os.ReadFile(p.journalPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	journal := new(promotionJournal)
	if err := json.Unmarshal(text, journal); err != nil {
		return nil, fmt.Errorf("%s: %w", journalFile, err)
	}
	return journal, nil
}

func (p *Promotion) writeJournal(journal *promotionJournal) error {
	text, err := json.Marshal(journal)
	if err != nil {
		return err
	}
	return writeFile(p.journalPath(), append(text, '\n'), 0o600, true)
}

// roundUp returns a duration that a person types, and not less than d.
func roundUp(d time.Duration) time.Duration {
	unit := time.Minute
	if d > time.Hour {
		unit = 10 * time.Minute
	}
	return d.Truncate(unit) + unit
}
