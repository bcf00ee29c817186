package engineio_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/engineio"
)

func TestSessionsGoToAnotherTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := engineio.NewTable(0), engineio.NewTable(0)
		from.Learn(serviceName, "expired", firstEndpoint, 2*time.Second)
		from.Learn(serviceName, "a", firstEndpoint, 32*time.Second)
		from.Learn("corteza:80", "b", secondEndpoint, 32*time.Second)
		time.Sleep(5 * time.Second)
		from.Learn(serviceName, "moved", firstEndpoint, 32*time.Second)
		to.Learn(serviceName, "moved", secondEndpoint, 32*time.Second) // the successor knows better

		records := from.Export()
		if len(records) != 3 || records[0].SID != "a" || records[0].Unused != 5*time.Second || records[0].Lifetime != 32*time.Second {
			t.Errorf("exported %+v", records)
		}
		to.Import(records)
		to.Import(records) // again, for what has come since
		wantLen(t, to, 3)
		wantEndpoint(t, to, serviceName, "a", firstEndpoint)
		wantEndpoint(t, to, "corteza:80", "b", secondEndpoint)
		wantEndpoint(t, to, serviceName, "moved", secondEndpoint)
		time.Sleep(33 * time.Second)
		wantEndpoint(t, to, serviceName, "a", "")

		if empty := engineio.NewTable(0).Export(); len(empty) != 0 {
			t.Errorf("an empty table exports %+v", empty)
		}
	})
}
