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

func TestRetryBudgetsGoToAnotherRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := newPairFixture(t, registry.Settings{}), newPairFixture(t, registry.Settings{})
		defer from.Close()
		defer to.Close()
		if got := from.ExportRetryBudgets(); len(got) != 0 {
			t.Errorf("without requests: %v", got)
		}
		from.makeRequests(t, 500) // 100 of them may be retries
		from.allowedRetries(t, from.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint(), 90)
		budgets := from.ExportRetryBudgets()
		budgets["other:80"] = budgets["api:80"]
		time.Sleep(5 * time.Second)
		to.makeRequests(t, 50) // 10 more
		to.ImportRetryBudgets(budgets)
		to.ImportRetryBudgets(budgets) // again
		e := to.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint()
		if n := to.allowedRetries(t, e, 21); n != 20 {
			t.Errorf("%d retries are allowed, want 20", n)
		}
		// Ten seconds later, what was handed over no longer counts, nor is it imported.
		time.Sleep(10 * time.Second)
		to.ImportRetryBudgets(budgets)
		to.makeRequests(t, 100)
		if n := to.allowedRetries(t, e, 21); n != 20 {
			t.Errorf("%d retries are allowed, want 20", n)
		}
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
