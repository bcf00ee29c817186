package recovery

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
)

var start = time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)

// report returns a report of a backup of the applications that began at a time.
func report(at time.Time, backups ...Backup) *Report {
	return &Report{Project: "shop", Time: at.Add(time.Minute), MaxAgeSeconds: 26 * 3600, DrillIntervalSeconds: 8 * 24 * 3600, Backups: backups}
}

func success(app string, at time.Time) Backup {
	return Backup{App: app, Set: at.Format("20060102-150405"), RecoveryPoint: at, Seconds: 60, Size: 1000, Added: 10}
}

// problems returns the problems at a time, a line for each.
func problems(s *Status, now time.Time) string {
	var b strings.Builder
	for _, p := range s.Problems(now) {
		b.WriteString(p.Project + "/" + p.App + ": " + p.Message + "\n")
	}
	return b.String()
}

func TestProblemsAreOverdueAndFailedBackupsAndDrills(t *testing.T) {
	var s *Status
	if got := problems(s, start); got != "" {
		t.Errorf("nothing is known: %s", got)
	}
	s = s.With(report(start, success("crm", start), Backup{App: "books", Error: "books-db does not run"}))
	before := s
	hour := time.Hour
	for _, c := range []struct {
		name   string
		report *Report
		now    time.Time
		want   string
	}{
		{"one has failed", nil, start.Add(hour), "shop/books: there is no backup: books-db does not run\n"},
		{"both succeed", report(start.Add(24*hour), success("crm", start.Add(24*hour)), success("books", start.Add(24*hour))), start.Add(25 * hour), ""},
		{"the timer is dead", nil, start.Add(51 * hour), "shop/books: the backup is overdue: the last one is of 2026-11-27T03:00:00Z\n" +
			"shop/crm: the backup is overdue: the last one is of 2026-11-27T03:00:00Z\n"},
		{"one has shrunk", report(start.Add(30*hour), Backup{App: "crm", Set: "s", RecoveryPoint: start.Add(30 * hour), Shrunk: []string{"crm-db has 4 rows, after 9"}}, success("books", start.Add(30*hour))), start.Add(31 * hour), "shop/crm: the last set has much less data than an earlier one: crm-db has 4 rows, after 9\n"},
		{"the data is back", report(start.Add(24*hour), success("crm", start.Add(24*hour)), success("books", start.Add(24*hour))), start.Add(25 * hour), ""},
		{"the next one fails", report(start.Add(30*hour), Backup{App: "crm", Error: "the disk is full"}), start.Add(31 * hour), "shop/crm: the last backup failed: the disk is full\n"},
		{
			"no drill", report(start.Add(200*hour), success("crm", start.Add(200*hour)), success("books", start.Add(200*hour))), start.Add(201 * hour),
			"shop/: no drill has been run: nobody knows whether the backups can be restored\n",
		},
		{
			"a drill fails", &Report{Project: "shop", Time: start.Add(201 * hour), MaxAgeSeconds: 26 * 3600, DrillIntervalSeconds: 8 * 24 * 3600, Drill: &DrillOutcome{Error: "a table is missing"}}, start.Add(201 * hour),
			"shop/: the last drill failed: a table is missing\n",
		},
		{"a drill passes", &Report{Project: "shop", Time: start.Add(202 * hour), MaxAgeSeconds: 26 * 3600, DrillIntervalSeconds: 8 * 24 * 3600, Drill: &DrillOutcome{RecoverySeconds: 20}}, start.Add(202 * hour), ""},
		{
			"the next drill is overdue", report(start.Add(400*hour), success("crm", start.Add(400*hour)), success("books", start.Add(400*hour))), start.Add(400 * hour),
			"shop/: the drill is overdue: the last one that passed was on 2026-12-04T13:00:00Z\n",
		},
	} {
		if c.report != nil {
			if err := c.report.Check(); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			s = s.With(c.report)
		}
		if got := problems(s, c.now); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.name, got, c.want)
		}
	}
	if got := problems(before, start.Add(hour)); !strings.HasPrefix(got, "shop/books: there is no backup") {
		t.Errorf("an earlier status has changed: %s", got)
	}
}

func TestIncompleteReportsAreRefused(t *testing.T) {
	for name, change := range map[string]func(r *Report){
		"project":       func(r *Report) { r.Project = "" },
		"time":          func(r *Report) { r.Time = time.Time{} },
		"max age":       func(r *Report) { r.MaxAgeSeconds = 0 },
		"drills":        func(r *Report) { r.DrillIntervalSeconds = -1 },
		"app":           func(r *Report) { r.Backups[0].App = "" },
		"set":           func(r *Report) { r.Backups[0].Set = "" },
		"time of a set": func(r *Report) { r.Backups[0].RecoveryPoint = time.Time{} },
	} {
		r := report(start, success("crm", start))
		change(r)
		if r.Check() == nil {
			t.Errorf("a report without %s is accepted", name)
		}
	}
}

func TestTheStatusOutlivesTheEdge(t *testing.T) {
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	ctx := context.Background()
	var first, second Store
	if s, err := first.Status(ctx, storage); err != nil || len(s.Projects) != 0 {
		t.Errorf("empty storage: %+v, %v", s, err)
	}
	if _, err := first.Add(ctx, storage, report(start, success("crm", start))); err != nil {
		t.Fatal(err)
	}
	s, err := second.Status(ctx, storage)
	if err != nil || s.Projects["shop"].Apps["crm"].Set == "" {
		t.Errorf("got %+v, %v", s, err)
	}
	if err := os.WriteFile(filepath.Join(storage.Path, "edge", "backups.json"), []byte(`{"projects"`), 0o600); err != nil {
		t.Fatal(err)
	}
	var third Store
	if _, err := third.Status(ctx, storage); err == nil {
		t.Error("a broken file is read")
	}
	if s, err := third.Add(ctx, storage, report(start, success("crm", start))); err != nil || len(s.Projects) != 1 {
		t.Errorf("a broken file is not replaced: %v", err)
	}
}

// stuckStorage is a storage whose files cannot be read until it is released.
type stuckStorage struct {
	certmagic.Storage
	release chan struct{}
	reads   atomic.Int32
}

// Load implements [certmagic.Storage].
func (s *stuckStorage) Load(ctx context.Context, key string) ([]byte, error) {
	s.reads.Add(1)
	<-s.release
	return s.Storage.Load(ctx, key)
}

// TestMetricsDoNotWaitForTheStorage: a database that is down must not look like an edge that is.
func TestMetricsDoNotWaitForTheStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := &certmagic.FileStorage{Path: t.TempDir()}
		var other Store
		if _, err := other.Add(t.Context(), files, report(start, success("crm", start))); err != nil {
			t.Fatal(err)
		}
		storage := &stuckStorage{Storage: files, release: make(chan struct{})}
		var s Store
		if got := s.Recent(nil); got != nil {
			t.Errorf("without a storage: %+v", got)
		}
		begin := time.Now()
		for range 3 {
			if got := s.Recent(storage); got != nil {
				t.Errorf("before it was read: %+v", got)
			}
		}
		if took := time.Since(begin); took != 3*recentWait || storage.reads.Load() != 1 {
			t.Errorf("waited %v, with %d reads; want one", took, storage.reads.Load())
		}
		close(storage.release)
		synctest.Wait()
		if got := s.Recent(storage); got == nil || got.Projects["shop"].Apps["crm"].Set == "" {
			t.Errorf("after it was read: %+v", got)
		}
		// Later, the last one is used while it is read again, and while it cannot be.
		storage.release = make(chan struct{})
		time.Sleep(time.Minute)
		begin = time.Now()
		if got := s.Recent(storage); got == nil || time.Since(begin) > recentWait {
			t.Errorf("while it is read again: %+v, after %v", got, time.Since(begin))
		}
		close(storage.release)
	})
}

// TestLogsMoveTheRecoveryPoint, and become overdue by themselves: also if their timer is dead, but not where nobody stores any.
func TestLogsMoveTheRecoveryPoint(t *testing.T) {
	minute := time.Minute
	logs := func(at time.Time, err string) *Report {
		r := report(at)
		r.MaxLogAgeSeconds, r.Logs = 300, []LogInfo{{App: "crm", Until: at, Error: err}}
		return r
	}
	s := (*Status)(nil).With(report(start, success("crm", start), success("books", start)))
	if got := s.Projects["shop"].Apps["crm"].RecoveryTime(); !got.Equal(start) || s.Projects["shop"].AreLogsOverdue("crm", start.Add(time.Hour)) {
		t.Errorf("without logs, the recovery point is %v", got)
	}
	s = s.With(logs(start.Add(10*minute), ""))
	for _, c := range []struct {
		name   string
		report *Report
		now    time.Time
		point  time.Time
		want   string
	}{
		{"stored", nil, start.Add(12 * minute), start.Add(10 * minute), ""},
		{"the timer is dead", nil, start.Add(20 * minute), start.Add(10 * minute), "shop/crm: the logs are overdue: changes after 2026-11-26T03:10:00Z would be lost\n"},
		{"one fails", logs(start.Add(21*minute), "crm-db does not run"), start.Add(21 * minute), start.Add(10 * minute), "shop/crm: the logs are overdue: changes after 2026-11-26T03:10:00Z would be lost: crm-db does not run\n"},
		{"again", logs(start.Add(30*minute), ""), start.Add(31 * minute), start.Add(30 * minute), ""},
		{"a later set", report(start.Add(34*minute), success("crm", start.Add(34*minute))), start.Add(34 * minute), start.Add(34 * minute), ""},
	} {
		if c.report != nil {
			s = s.With(c.report)
		}
		if got := problems(s, c.now); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		if got := s.Projects["shop"].Apps["crm"].RecoveryTime(); !got.Equal(c.point) {
			t.Errorf("%s: the recovery point is %v, want %v", c.name, got, c.point)
		}
	}
	// The first report may be one of logs.
	s = (*Status)(nil).With(logs(start, "there is no set yet"))
	if got := problems(s, start.Add(7*minute)); !strings.HasPrefix(got, "shop/crm: the logs are overdue") {
		t.Errorf("got %q", got)
	}
	if got := problems(s, start.Add(27*time.Hour)); !strings.Contains(got, "shop/crm: no backup is known\n") {
		t.Errorf("got %q", got)
	}
}

func TestAFailedCopyIsAProblem(t *testing.T) {
	for _, c := range []struct {
		set    func(*Report, *CopyOutcome)
		get    func(Project) *Copy
		wanted string
	}{
		{func(r *Report, o *CopyOutcome) { r.Copy = o }, func(p Project) *Copy { return p.Copy }, "the last copy to the second repository failed: no route"},
		{func(r *Report, o *CopyOutcome) { r.LogsCopy = o }, func(p Project) *Copy { return p.LogsCopy }, "the logs could not be copied to the second repository: no route"},
	} {
		copied := report(start, success("crm", start))
		c.set(copied, &CopyOutcome{})
		failed := report(start.Add(time.Hour), success("crm", start.Add(time.Hour)))
		c.set(failed, &CopyOutcome{Error: "no route"})
		s := (*Status)(nil).With(copied)
		if got := problems(s, start); got != "" || !c.get(s.Projects["shop"]).LastSuccess.Equal(copied.Time) {
			t.Errorf("got %q, %+v", got, s.Projects["shop"])
		}
		s = s.With(failed).With(report(start.Add(time.Hour), success("crm", start.Add(time.Hour)))) // the last one says nothing of copies
		if got := problems(s, start.Add(time.Hour)); got != "shop/: "+c.wanted+"\n" {
			t.Errorf("got %q", got)
		}
		if last := c.get(s.Projects["shop"]); !last.LastSuccess.Equal(copied.Time) {
			t.Errorf("the last success is %v", last.LastSuccess)
		}
	}
}

// TestAnApplicationThatIsGoneIsForgotten: it would be overdue for ever.
func TestAnApplicationThatIsGoneIsForgotten(t *testing.T) {
	s := (*Status)(nil).With(report(start, success("crm", start), success("shop", start)))
	later := report(start.Add(30*time.Hour), success("crm", start.Add(30*time.Hour)))
	if got := problems(s.With(later), later.Time); !strings.HasPrefix(got, "shop/shop: the backup is overdue") {
		t.Errorf("a report that does not say which there are: got %q", got)
	}
	later.Apps = []string{"crm"}
	if got := problems(s.With(later), later.Time); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestTheSummaryIsOfTheOldestApplication(t *testing.T) {
	if got := (*Status)(nil).Summary(start); len(got) > 0 {
		t.Errorf("without backups: %q", got)
	}
	s := (*Status)(nil).With(report(start, success("crm", start), success("books", start.Add(-time.Hour))))
	if got := strings.Join(s.Summary(start.Add(time.Minute)), "; "); got != "shop can be restored to 2026-11-26T02:00:00Z, 1h1m0s ago" {
		t.Errorf("got %s", got)
	}
	drilled := report(start)
	drilled.Drill = &DrillOutcome{RecoverySeconds: 43.2}
	if got := strings.Join(s.With(drilled).Summary(start.Add(time.Minute)), "; "); !strings.HasSuffix(got, "; the drill of 2026-11-26 passed, in 43 s") {
		t.Errorf("got %s", got)
	}
}
