package recovery

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
)

// TestAWatchTellsOnceThatABackupIsOverdue, although nothing reports any more.
func TestAWatchTellsOnceThatABackupIsOverdue(t *testing.T) {
	files := &certmagic.FileStorage{Path: t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		var hasStorage atomic.Bool
		store := new(Store)
		var told []string
		w := NewWatch(store, func() certmagic.Storage {
			if !hasStorage.Load() {
				return nil
			}
			return files
		}, func(p Problem) { told = append(told, p.App+": "+p.Message) })
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
		if len(told) != 0 {
			t.Fatalf("told too early: %v", told)
		}
		time.Sleep(10 * watchInterval)
		synctest.Wait()
		if len(told) != 1 || !strings.HasPrefix(told[0], "crm: the backup is overdue") {
			t.Errorf("told %q", told)
		}

		r = report(time.Now(), success("crm", time.Now()))
		r.DrillIntervalSeconds = 1e9
		if _, err := store.Add(t.Context(), files, r); err != nil {
			t.Fatal(err)
		}
		w.Look(t.Context())
		time.Sleep(time.Duration(r.MaxAgeSeconds+600) * time.Second)
		synctest.Wait()
		if len(told) != 2 {
			t.Errorf("told %q, want the second time it is overdue, too", told)
		}
	})
}
