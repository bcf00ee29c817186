package tests

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// TestAnOperatorDrainsByHand: the same thing in single steps.
func TestAnOperatorDrainsByHand(t *testing.T) {
	p := newShop(t)
	id := p.container(t, "web")[:12]
	drain := func(args ...string) (string, error) {
		return p.compose(append([]string{"exec", "-T", "edge", "edge", "drain", id}, args...)...)
	}
	p.underLoad(t, shopURL, func() {
		if out, err := drain("--sessions", "0s", "--wait", "10s"); err != nil || !strings.Contains(out, "draining") {
			t.Errorf("%v\n%s", err, out)
		}
		docker(t, "restart", "--time", "1", id)
		p.ready(t, shopService, 2) // it began anew: the drain ended with what it was
	})
	var slow sync.WaitGroup
	client := p.client(false)
	for range 8 { // some of them go there
		slow.Go(func() {
			if a, err := p.ask(client, http.MethodPost, shopURL+"/_test/slow?d=3s", nil); err != nil || a.status != http.StatusOK {
				t.Errorf("%d, %v", a.status, err)
			}
		})
	}
	eventually(t, 10*time.Second, "a request is under way there", func() bool {
		return slices.ContainsFunc(p.service(t, shopService).Endpoints, func(e registry.EndpointStatus) bool {
			return strings.HasPrefix(e.ID, id) && e.InFlight > 0
		})
	})
	if _, err := drain("--wait", "100ms"); err == nil || !strings.Contains(err.Error(), "still under way after 100ms: web:8080") {
		t.Error(err)
	}
	if out, err := drain("--undo"); err != nil || !strings.Contains(out, "ready") {
		t.Errorf("%v\n%s", err, out)
	}
	slow.Wait()
	p.ready(t, shopService, 2)
	if _, err := p.compose("exec", "-T", "edge", "edge", "drain", "0123456789ab"); err == nil || !strings.Contains(err.Error(), "no endpoint has this ID") {
		t.Error(err)
	}
}
