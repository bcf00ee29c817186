package recovery

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
)

// TestAWatchReportsOnceThatABackupIsOverdue, although nothing reports any more.
func TestAWatchReportsOnceThatABackupIsOverdue(t *testing.T) {
	files := &certmagic.FileStorage{Path: t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		var hasStorage atomic.Bool
		store := new(Store)
		var mu sync.Mutex
		var all []string
		reported := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(all)
		}
		w := NewWatch(store, func() certmagic.Storage {
			if !hasStorage.Load() {
				return nil
			}
			return files
		}, func(p Problem) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, p.App+": "+p.Message)
		})
		defer w.Stop()
		time.Sleep(2 * watchInterval) // there is no storage yet
		hasStorage.Store(true)
		r := report(time.Now(), success("crm", time.Now()))
		r.DrillIntervalSeconds = 1e9
		if _, err := store.Add(t.Context(), files, r); err != nil {
			t.Fatal(err)
		}
		w.Look(t.Context())
		time.Sleep(time.Duration(r.MaxAgeSeconds)*time.Second - watchInterval)
		synctest.Wait()
		if got := reported(); len(got) != 0 {
			t.Fatalf("reported too early: %v", got)
		}
		time.Sleep(10 * watchInterval)
		synctest.Wait()
		if got := reported(); len(got) != 1 || !strings.HasPrefix(got[0], "crm: the backup is overdue") {
			t.Errorf("reported %q", got)
		}

		r = report(time.Now(), success("crm", time.Now()))
		r.DrillIntervalSeconds = 1e9
		if _, err := store.Add(t.Context(), files, r); err != nil {
			t.Fatal(err)
		}
		w.Look(t.Context())
		time.Sleep(time.Duration(r.MaxAgeSeconds+600) * time.Second)
		synctest.Wait()
		if got := reported(); len(got) != 2 {
			t.Errorf("reported %q, want the second time it is overdue, too", got)
		}
	})
}
