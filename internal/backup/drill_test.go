package backup

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestADrillSaysWhatItDoesNotRestore: a set with a dump of MongoDB is not wholly rehearsed.
func TestADrillSaysWhatItDoesNotRestore(t *testing.T) {
	run := &restoreRun{Restore: new(Restore), session: session{progress: &progress{out: io.Discard}}}
	if _, err := run.findTargets(t.Context(), &Manifest{App: "bigcapital", Parts: []Part{{Name: "mongo.archive", Service: "mongo", Kind: Mongo}}}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(run.notRestored, []string{"mongo.archive"}) {
		t.Errorf("got %q", run.notRestored)
	}
	r := &DrillResult{Sets: map[string]string{"bigcapital": "1"}, RecoverySeconds: 2, RecoveryPoint: time.Now(), NotRestored: run.notRestored}
	if got := r.summary(); !strings.HasPrefix(got, "the drill of 1 (bigcapital) has passed, without mongo.archive, which it cannot restore: restored and checked in 2s, ") {
		t.Error(got)
	}
	r.NotRestored = nil
	if got := r.summary(); !strings.HasPrefix(got, "the drill of 1 (bigcapital) has passed: restored") {
		t.Error(got)
	}
}
