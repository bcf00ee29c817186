package replication

import (
	"errors"
	"testing"
	"time"

	"go.uber.org/zap"
)

// What a test has the hosts say.
var (
	inSync   = seen{primary: PrimaryState{IsSynchronous: true, IsConnected: true, IsInSync: true, Position: "7"}, replica: ReplicaState{IsReplica: true, IsConnected: true}}
	lost     = seen{primary: PrimaryState{IsSynchronous: true}, replicaErr: errors.New("no route to host")}
	aloneNow = seen{primary: PrimaryState{}, replicaErr: errors.New("no route to host")}
	back     = seen{primary: PrimaryState{IsConnected: true}, replica: ReplicaState{IsReplica: true, IsConnected: true}}
	hasLeft  = seen{primary: inSync.primary, replica: ReplicaState{IsReplica: true}}
	down     = seen{primaryErr: errors.New("connection refused"), replica: ReplicaState{IsReplica: true}}
	caughtUp = seen{primary: inSync.primary, replica: inSync.replica, hasTarget: true}
	readOnly = seen{primary: PrimaryState{IsReadOnly: true, IsSynchronous: true}, replica: ReplicaState{IsReplica: true}}
	stopped  = seen{primary: PrimaryState{IsSynchronous: true}, replica: ReplicaState{IsReplica: true, IsStopped: true}}
	escaped  = seen{primary: PrimaryState{IsSynchronous: true, IsConnected: true, IsInSync: true, Unconfirmed: 1, Position: "8"}, replica: inSync.replica}
	newer    = seen{primary: readOnly.primary, hasNewerRival: true} // it has restarted, and takes no writes until its watcher has seen it
	twoOfUs  = seen{primary: readOnly.primary, replica: ReplicaState{IsWritable: true}}
)

// TestDecisions plays what both hosts say, a second apart, or as long as a step says.
func TestDecisions(t *testing.T) {
	type step struct {
		seen   seen
		after  time.Duration // 1 s if 0
		mode   Mode
		action string // "" for none
	}
	const alone, wait, settle = "the primary goes on alone", "commits wait for the replica", "all commits wait for the replica"
	for name, test := range map[string]struct {
		policy Policy
		begin  Mode
		steps  []step
	}{
		"in sync": {Continue, Synchronous, []step{{seen: inSync, mode: Synchronous}, {seen: inSync, mode: Synchronous}}},
		"a lost replica stops the primary": {Stop, Synchronous, []step{
			{seen: inSync, mode: Synchronous}, {seen: lost, mode: Synchronous}, {seen: lost, after: time.Hour, mode: Synchronous},
		}},
		"the primary goes on alone": {Continue, Synchronous, []step{
			{seen: inSync, mode: Synchronous},
			{seen: lost, after: 9 * time.Second, mode: Synchronous},
			{seen: lost, after: 2 * time.Second, mode: Alone, action: alone},
			{seen: aloneNow, mode: Alone},
		}},
		"the replica says that it does not receive": {Continue, Synchronous, []step{
			{seen: inSync, mode: Synchronous}, {seen: hasLeft, after: 11 * time.Second, mode: Alone, action: alone},
		}},
		"a setting that failed is tried again": {Continue, Alone, []step{
			{seen: lost, mode: Alone, action: alone}, {seen: lost, mode: Alone, action: alone}, {seen: aloneNow, mode: Alone},
		}},
		"the replica comes back": {Continue, Alone, []step{
			{seen: aloneNow, mode: Alone},
			{seen: back, mode: Alone, action: wait},
			{seen: inSync, mode: Alone, action: settle},
			{seen: inSync, mode: Alone}, // its position is what the replica must have
			{seen: inSync, mode: Alone}, // which it has not yet
			{seen: caughtUp, mode: Synchronous},
		}},
		"the replica is lost again before it has everything": {Continue, Alone, []step{
			{seen: back, mode: Alone, action: wait},
			{seen: inSync, mode: Alone, action: settle},
			{seen: inSync, mode: Alone},
			{seen: lost, mode: Alone, action: alone},
			{seen: caughtUp, mode: Alone, action: settle}, // what it has is no longer enough
		}},
		"a replica that was stopped": {Stop, Synchronous, []step{{seen: stopped, mode: Synchronous, action: "the replica connects again"}, {seen: stopped, mode: Synchronous}}},
		"a commit that nobody confirmed": {Stop, Synchronous, []step{
			{seen: inSync, mode: Synchronous}, {seen: escaped, mode: Alone}, {seen: escaped, mode: Alone, action: settle}, {seen: escaped, mode: Alone}, {seen: caughtUp, mode: Synchronous},
		}},
		"with the policy stop, too": {Stop, Alone, []step{{seen: back, mode: Alone, action: wait}, {seen: lost, mode: Alone, action: alone}}},
		"a primary that is down changes nothing": {Continue, Synchronous, []step{
			{seen: inSync, mode: Synchronous},
			{seen: down, after: time.Hour, mode: Synchronous},
			{seen: lost, mode: Synchronous}, // the replica has time to connect
			{seen: lost, after: 12 * time.Second, mode: Alone, action: alone},
		}},
		"a primary that starts takes writes": {Stop, Synchronous, []step{{seen: readOnly, mode: Synchronous, action: "the primary takes writes"}}},
		"but not beside another primary":     {Stop, Synchronous, []step{{seen: inSync, mode: Synchronous}, {seen: twoOfUs, mode: Synchronous}}},
		"a new replica is no primary":        {Stop, Alone, []step{{seen: twoOfUs, mode: Alone, action: "the primary takes writes"}}},
		"an old primary is none any more":    {Stop, Alone, []step{{seen: newer, mode: Alone}}},
		"somebody else has it go on alone":   {Stop, Synchronous, []step{{seen: inSync, mode: Synchronous}, {seen: back, mode: Alone}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &Watcher{Config: &Config{Primary: "a", Replica: "b", Policy: test.policy}}
			w.setDefaults()
			p := &pair{watcher: w, log: zap.NewNop(), unconfirmed: -1}
			now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
			d := DatabaseState{Mode: test.begin, Since: now}
			for i, s := range test.steps {
				if s.after == 0 {
					s.after = time.Second
				}
				now = now.Add(s.after)
				var a *action
				before := d
				d, a = p.decide(d, s.seen, now)
				if isNew := before.Mode == Synchronous && d.Mode == Alone; isNew != (d.TimesAlone == before.TimesAlone+1) || !isNew && d.TimesAlone != before.TimesAlone {
					t.Errorf("step %d: alone %d times, before %d", i, d.TimesAlone, before.TimesAlone)
				}
				got := ""
				if a != nil {
					got = a.what
				}
				if got == settle {
					p.isSettled = true
				}
				if d.Mode != s.mode || got != s.action {
					t.Fatalf("step %d: %s, %q, want %s, %q (%s)", i, d.Mode, got, s.mode, s.action, d.Problem)
				}
			}
		})
	}
}

// TestWaitingCommitsAreNoticed: a primary whose replica is connected, and confirms nothing although commits wait, has lost it; one whose replica confirms
// has not.
func TestWaitingCommitsAreNoticed(t *testing.T) {
	for name, grows := range map[string]bool{"confirms": true, "is silent": false} {
		t.Run(name, func(t *testing.T) {
			w := &Watcher{Config: &Config{Primary: "a", Replica: "b", Policy: Continue}}
			w.setDefaults()
			p := &pair{watcher: w, log: zap.NewNop(), unconfirmed: -1}
			now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
			d, s := DatabaseState{Mode: Synchronous}, inSync
			s.primary.Waiting = 3
			for range 20 {
				now = now.Add(time.Second)
				if grows {
					s.primary.Confirmed++
				}
				d, _ = p.decide(d, s, now)
			}
			if isAlone := d.Mode == Alone; isAlone == grows {
				t.Errorf("the mode is %s", d.Mode)
			}
		})
	}
}

// TestTheLongestWaitIsOfTheLastMinute, so that Prometheus sees each.
func TestTheLongestWaitIsOfTheLastMinute(t *testing.T) {
	p, now := new(pair), time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for i, step := range []struct{ after, wait, want time.Duration }{
		{0, 0, 0},
		{time.Second, 20 * time.Millisecond, 20 * time.Millisecond},
		{time.Second, 2 * time.Second, 2 * time.Second},
		{time.Second, 30 * time.Millisecond, 2 * time.Second},
		{59 * time.Second, 0, 2 * time.Second},
		{time.Second, 0, 30 * time.Millisecond},
		{time.Minute, 0, 0},
	} {
		now = now.Add(step.after)
		if got := p.longestWait(step.wait, now); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}

// TestMeanOfWaits: MariaDB has sums since its start.
func TestMeanOfWaits(t *testing.T) {
	var w waits
	for i, step := range []struct {
		duration time.Duration
		count    int64
		want     time.Duration
	}{
		{time.Hour, 1000, 0}, // how long those of before took is not known
		{time.Hour + 3*time.Second, 1002, 1500 * time.Millisecond},
		{time.Hour + 3*time.Second, 1002, 0},
		{10 * time.Second, 2, 0}, // it has restarted
		{11 * time.Second, 3, time.Second},
		{0, 0, 0},
		{time.Second, 1, 0},
	} {
		if got := w.mean(step.duration, step.count); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}

// TestAModeOutlivesTheWatcher as long as both hosts are the same: only a watcher changes it.
func TestAModeOutlivesTheWatcher(t *testing.T) {
	now := time.Now()
	earlier := &State{Primary: "a", Replica: "b", Epoch: 1, Databases: map[string]*DatabaseState{"postgres": {Mode: Synchronous, LastInSync: now}}}
	for name, test := range map[string]struct {
		config Config
		mode   Mode // of PostgreSQL; "" for an error
	}{
		"the same":               {Config{Primary: "a", Replica: "b", Epoch: 1}, Synchronous},
		"another replica":        {Config{Primary: "a", Replica: "c", Epoch: 1}, Alone},
		"after a promotion":      {Config{Primary: "b", Replica: "a", Epoch: 2}, Alone},
		"without a promotion":    {Config{Primary: "b", Replica: "a", Epoch: 1}, ""},
		"an older .env":          {Config{Primary: "a", Replica: "b", Epoch: 0}, ""},
		"with another address":   {Config{Primary: "x", Replica: "b", Epoch: 2}, Alone},
		"a third host, silently": {Config{Primary: "x", Replica: "b", Epoch: 1}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := &Watcher{Config: &test.config}
			w.setDefaults()
			got, err := w.begin(earlier, now)
			if (err != nil) != (test.mode == "") {
				t.Fatalf("%v", err)
			}
			if err != nil {
				return
			}
			if d := got.Databases["postgres"]; d.Mode != test.mode || d.LastInSync.IsZero() != (test.mode == Alone) {
				t.Errorf("PostgreSQL: %+v", d)
			}
			if got.Databases["mariadb"].Mode != Alone {
				t.Errorf("MariaDB: %+v", got.Databases["mariadb"])
			}
		})
	}
}

// TestAReplicaThatRestartsLacksSomething until it has everything that the primary had when it was connected again.
func TestAReplicaThatRestartsLacksSomething(t *testing.T) {
	w := &Watcher{Config: &Config{Primary: "a", Replica: "b", Policy: Stop}}
	w.setDefaults()
	p := &pair{watcher: w, log: zap.NewNop(), unconfirmed: -1}
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	before, after := now.Add(-time.Hour), now.Add(-time.Second)
	d, s := DatabaseState{Mode: Synchronous, ReplicaStarted: before}, inSync
	s.replica.Started = after
	for range 3 {
		if d, _ = p.decide(d, s, now); !d.ReplicaStarted.Equal(before) {
			t.Fatal("it counts as having everything at once")
		}
	}
	if p.target == nil || *p.target != inSync.primary.Position {
		t.Fatalf("what it has to have is %v", p.target)
	}
	s.hasTarget = true
	if d, _ = p.decide(d, s, now); !d.ReplicaStarted.Equal(after) || p.target != nil {
		t.Errorf("started %s, target %v", d.ReplicaStarted, p.target)
	}
}

// TestTheClockOfAReplicaDoesNotMatter for whether it replies.
func TestTheClockOfAReplicaDoesNotMatter(t *testing.T) {
	p, now := new(postgres), time.Now()
	for i, step := range []struct {
		reply string
		after time.Duration
		want  bool
	}{
		{"", 0, false}, {"12:00", 0, true}, {"12:00", 4 * time.Second, true}, {"12:00", 2 * time.Second, false}, {"11:00", time.Second, true}, {"", time.Second, false},
	} {
		now = now.Add(step.after)
		if got := p.hasReplied(step.reply, now); got != step.want {
			t.Errorf("step %d: %t, want %t", i, got, step.want)
		}
	}
}

func TestTheLastOfTwoPositionsOfMariaDBCounts(t *testing.T) {
	for _, c := range []struct{ logged, applied, want string }{
		{"", "", ""},
		{"0-1-17", "", "0-1-17"},
		{"", "0-1-17", "0-1-17"}, // a copy that was promoted, and has had no commit
		{"0-2-9", "0-1-17", "0-1-17"},
		{"0-2-20,1-1-3", "0-1-17", "0-2-20,1-1-3"},
		{"nonsense", "0-1-17", "0-1-17"},
	} {
		if got := lastPosition(c.logged, c.applied); got != c.want {
			t.Errorf("%q and %q: %q, want %q", c.logged, c.applied, got, c.want)
		}
	}
}

// TestAnOldPrimaryIsKnownByTheTimeline, also by the database that has none, and also if the new primary has restarted and takes no writes yet.
func TestAnOldPrimaryIsKnownByTheTimeline(t *testing.T) {
	f := newFakes(t)
	w := &Watcher{Config: &Config{Primary: "a", Replica: "b", Policy: Stop}, databases: Databases}
	w.setDefaults()
	f.postgres.replica, f.mariadb.replica = ReplicaState{Generation: 2}, ReplicaState{}
	mariadb := &pair{watcher: w, database: Databases[0], log: zap.NewNop()}
	postgres := &pair{watcher: w, database: Databases[1], log: zap.NewNop()}
	f.postgres.primaryErr = errDown // it recovers after a crash
	postgres.look(t.Context())
	select {
	case <-w.hasLooked:
		t.Error("the others do not wait, although nothing is known")
	default:
	}
	f.postgres.primaryErr = nil
	if !postgres.look(t.Context()).hasNewerRival || !mariadb.look(t.Context()).hasNewerRival {
		t.Error("the host that was promoted last is not known")
	}
	select {
	case <-w.hasLooked:
	default:
		t.Error("the others wait")
	}
	f.postgres.replicaErr = errDown
	if !postgres.look(t.Context()).hasNewerRival || !mariadb.look(t.Context()).hasNewerRival {
		t.Error("the host that was promoted last is forgotten when it does not respond")
	}
	f.postgres.replicaErr = nil
	f.postgres.tables = 0 // a host that is going to be a replica
	if postgres.look(t.Context()).hasNewerRival || mariadb.look(t.Context()).hasNewerRival {
		t.Error("an empty host counts as newer")
	}
}
