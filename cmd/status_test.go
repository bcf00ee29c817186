package cmd

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

func TestStatusTableShowsServicesAndEndpoints(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var out bytes.Buffer
	err := printServices(&out, []registry.ServiceStatus{
		{
			Service: "api:80", Ready: 1, Held: 2, InFlight: 3, Source: "engine", Since: now.Add(-90 * time.Second), Known: true,
			Endpoints: []registry.EndpointStatus{
				{ID: "a", Name: "p/api/1", Address: "10.0.0.1:80", State: registry.Ready, Reason: "GET / passed", Source: "engine", InFlight: 3, Since: now.Add(-3 * time.Hour)},
				{ID: "10.0.0.2", Address: "10.0.0.2:80", State: registry.Failing, Reason: "refused", Source: "dns", Since: now.Add(-72 * time.Hour)},
			},
		},
		{Service: "gone:80", Since: now, Source: "engine"},
		{Service: "new:80", Since: now},
		{Service: "stopped:80", Since: now, Known: true, Maintenance: "hold", MaintenanceSince: now.Add(-20 * time.Minute)},
		{Service: "twice:80", Since: now, Problem: "two projects"},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1 ready, 2 held", "1m30s", "p/api/1 (10.0.0.1:80)", "3h0m", "10.0.0.2:80", "3d", "no container is known",
		"its containers are stopped", "two projects", "not looked for yet", "0 ready, in maintenance for 20m0s ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
}

func TestStatusOfNamedServices(t *testing.T) {
	all := []registry.ServiceStatus{{Service: "shop/cart:80", Projects: []string{"shop"}}, {Service: "shop/web:80", Projects: []string{"shop"}}, {Service: "web:80"}}
	for _, c := range []struct{ names, want string }{
		{"", "shop/cart:80 shop/web:80 web:80"},
		{"web", "web:80"},
		{"web shop/", "shop/cart:80 shop/web:80 web:80"},
		{"cart cart", "shop/cart:80"},
		{"cart wbe", `no service "wbe" (known: shop/cart:80, shop/web:80, web:80)`},
	} {
		found, err := selectServices(slices.Clone(all), strings.Fields(c.names))
		var names []string
		for _, s := range found {
			names = append(names, s.Service)
		}
		got := strings.Join(names, " ")
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q: got %s, want %s", c.names, got, c.want)
		}
	}
}

func TestWatchContinuesAfterErrorsUntilCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	shown := 0
	err := watchStatus(ctx, &out, func() error {
		if shown++; shown == 2 {
			cancel()
		}
		return errors.New("connection refused")
	})
	if err != nil || shown != 2 || !strings.Contains(out.String(), "edge: error: connection refused") {
		t.Errorf("%v after %d, printed %q", err, shown, &out)
	}
}

func TestAdminAddressPrefersFlagToEnvironment(t *testing.T) {
	t.Setenv("EDGE_ADMIN", "unix//x.sock")
	if got := adminAddress("localhost:1"); got != "localhost:1" {
		t.Errorf("with a flag: %s", got)
	}
	if got := adminAddress(""); got != "unix//x.sock" {
		t.Errorf("with the environment: %s", got)
	}
}
