package registry_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

func TestEjectionsGoToAnotherRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings := registry.Settings{Eject: registry.Ejection{After: 3, Base: 4 * time.Second, Max: time.Minute}}
		from, to := newPairFixture(t, settings), newPairFixture(t, settings)
		defer from.Close()
		defer to.Close()
		from.reportFailures(t, idA, 3)
		time.Sleep(time.Second)
		ejected := from.ExportEjections()
		if len(ejected) != 1 || ejected[0].Endpoint != idA || ejected[0].Left != 3*time.Second || ejected[0].Count != 1 {
			t.Fatalf("exported %+v", ejected)
		}
		unknown := []registry.EjectedEndpoint{{Service: "api:80", Endpoint: "gone", Left: time.Minute}, {Service: "other:80", Endpoint: idB, Left: time.Minute}}
		to.ImportEjections(append(unknown, ejected...))
		to.ImportEjections(ejected) // again
		to.wantStates(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
		if reason := to.service.Status().Endpoints[0].Reason; !strings.Contains(reason, "status 502") {
			t.Errorf("the reason is %q", reason)
		}
		// The last one of a service is not ejected.
		to.ImportEjections([]registry.EjectedEndpoint{{Service: "api:80", Endpoint: idB, Left: time.Minute}})
		to.wantStates(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
		time.Sleep(3001 * time.Millisecond)
		synctest.Wait()
		to.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
		to.reportFailures(t, idA, 3) // the second in a row
		time.Sleep(4001 * time.Millisecond)
		synctest.Wait()
		to.wantStates(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
	})
}

func TestDrainedEndpointsAreListed(t *testing.T) {
	f := newPairFixture(t, registry.Settings{})
	if got := f.DrainedIDs(); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	if _, err := f.Drain([]string{idB}, registry.DrainOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := f.DrainedIDs(); len(got) != 1 || got[0] != idB {
		t.Errorf("got %q", got)
	}
}
