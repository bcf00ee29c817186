package registry_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/registry"
)

func TestParseNamesRejectsInvalidNames(t *testing.T) {
	for _, name := range []string{
		"", "api", "api:", ":80", "api:0", "api:70000", "api:http", "{env.X}:80", "API:80", "[::1]",
		"/b:80", "a/:80", "a/b/c:80", "A/b:80", "http://api:80", "a:80,", "a:80,,b:80", "a:80, b:80", "a:80,a:80",
	} {
		if _, err := registry.ParseNames(name); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
}

func TestParseNamesSortsNames(t *testing.T) {
	names, err := registry.ParseNames("shop/web:80,bigcapital-server-2:3000,bigcapital-server:3000")
	if want := []registry.Name{{"bigcapital-server", 3000}, {"bigcapital-server-2", 3000}, {"shop/web", 80}}; err != nil || !slices.Equal(names, want) {
		t.Errorf("got %v, %v; want %v", names, err, want)
	}
	if project := names[2].Project(); project != "shop" || names[0].Project() != "" {
		t.Errorf("got the project %q", project)
	}
}

func TestSeveralNamesArePool(t *testing.T) {
	f := newServiceFixture(t, "api-2:81,api:80", registry.Settings{})
	if got := f.service.Name(); got != "api:80,api-2:81" {
		t.Errorf("the service is called %s", got)
	}
	if hosts := f.Hosts(); !slices.Equal(hosts, []string{"api", "api-2"}) {
		t.Errorf("sources look for %v", hosts)
	}
	f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
	f.engine.Set("api-2", []registry.Member{engineMember(idB, "10.0.0.2")})
	f.engine.SetOnline(true)
	f.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:81 ready; ")

	f.engine.Set("api", nil)
	f.wantStates(t, "10.0.0.2:81 ready; ")
	if status := f.service.Status(); !status.Known {
		t.Error("the service is unknown while one of its names has a container")
	}
	f.engine.Set("api-2", nil)
	f.wantStates(t, "")
	if status := f.service.Status(); status.Known {
		t.Error("the service is known, although none of its names has a container")
	}
}

func TestAContainerWithSeveralNamesIsOneEndpoint(t *testing.T) {
	f := newServiceFixture(t, "api:80,shop-api-1:80", registry.Settings{})
	f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")})
	f.engine.Set("shop-api-1", []registry.Member{engineMember(idA, "10.0.0.1")})
	f.engine.SetOnline(true)
	f.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
}

// TestEachNameHasItsOwnSource: a name that the Docker Engine never listed, such as a network alias, is left to DNS.
func TestEachNameHasItsOwnSource(t *testing.T) {
	f := newServiceFixture(t, "alias:80,api:80,fixed:80", registry.Settings{})
	f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
	f.engine.SetOnline(true)
	f.dns.Set("alias", []registry.Member{dnsMember("10.0.0.7")})
	f.dns.Set("api", []registry.Member{dnsMember("10.0.0.8")})
	f.dns.SetOnline(true)
	f.Feed(registry.Static).Set("fixed:80", []registry.Member{{ID: "192.0.2.9:8080", Addr: netip.MustParseAddr("192.0.2.9"), Port: 8080, Phase: registry.Running}})
	f.wantStates(t, "10.0.0.7:80 ready; 192.0.2.9:8080 ready; 10.0.0.1:80 ready; ")
}

// TestANameWithAProjectIsNotLeftToDNS: DNS knows no projects, so that nothing has to be waited for.
func TestANameWithAProjectIsNotLeftToDNS(t *testing.T) {
	f := newServiceFixture(t, "shop/web:80", registry.Settings{})
	f.dns.Set("web", []registry.Member{dnsMember("10.0.0.8")})
	f.dns.SetOnline(true)
	f.engine.SetOnline(true)
	if _, err := f.service.Acquire(t.Context(), registry.PickOptions{}); !errors.Is(err, registry.ErrUnknown) {
		t.Errorf("got %v, want that the name is unknown", err)
	}
	f.engine.Set("shop/web", []registry.Member{engineMember(idA, "10.0.0.1")})
	f.wantStates(t, "10.0.0.1:80 ready; ")
}

func TestServicesWithTheSameNamesAreOne(t *testing.T) {
	f := newServiceFixture(t, "a:80,b:80", registry.Settings{})
	other, err := f.Declare("b:80,a:80")
	if err != nil || other != f.service {
		t.Errorf("got another service, %v", err)
	}
	other.Drop()
	f.service.Drop()
	if hosts := f.Hosts(); len(hosts) > 0 {
		t.Errorf("sources still look for %v", hosts)
	}
}

func TestHostPortHasNoProject(t *testing.T) {
	for name, want := range map[string]string{"shop/web:8080": "web:8080", "web:8080": "web:8080"} {
		if n, err := registry.ParseName(name); err != nil || n.HostPort() != want {
			t.Errorf("%s: got %s, %v", name, n.HostPort(), err)
		}
	}
}

func TestFindServices(t *testing.T) {
	var services []registry.ServiceStatus
	for _, text := range []string{"api:80,api-2:81", "api:82", "blog/web:80 blog", "shop/api:80 shop", "shop/cart:80 shop", "shop/web:80 shop", "wiki:80 docs", "web:81", "no-service"} {
		fields := strings.Fields(text)
		services = append(services, registry.ServiceStatus{Service: fields[0], Projects: fields[1:]})
	}
	for _, c := range []struct{ text, matches, problem string }{
		{text: "api:82", matches: "api:82"},
		{text: "api", matches: "api:80,api-2:81 api:82"},
		{text: "api-2", matches: "api:80,api-2:81"},
		{text: "api:80", matches: "api:80,api-2:81"},
		{text: "api-2:81,api:80", matches: "api:80,api-2:81"},
		{text: "api:82,web:81", matches: "api:82 web:81"},
		{text: "web", matches: "web:81"}, // as before there were routes to other projects
		{text: "shop/web", matches: "shop/web:80"},
		{text: "blog/web:80", matches: "blog/web:80"},
		{text: "cart", matches: "shop/cart:80"},
		{text: "cart:80", matches: "shop/cart:80"},
		{text: "shop/", matches: "shop/api:80 shop/cart:80 shop/web:80"},
		{text: "no-service", matches: "no-service"},
		{text: "docs/", matches: "wiki:80"}, // the project of its endpoints
		{text: "docs/wiki", matches: "wiki:80"},
		{text: "wiki", matches: "wiki:80"},
		{text: "web:80", problem: `"web:80" is a service of several projects: name one of blog/web:80, shop/web:80`},
		{text: "shop", problem: `no service "shop"; all of the project are "shop/"`},
		{text: "shops", problem: `no service "shops" (known: api:80,api-2:81, api:82, `},
		{text: "wikis/", problem: `no service "wikis/"`},
		{text: "", problem: `no service ""`},
	} {
		found, err := registry.FindServices(services, c.text)
		if got := strings.Join(found, " "); got != c.matches || (err == nil) != (c.problem == "") || err != nil && !strings.HasPrefix(err.Error(), c.problem) {
			t.Errorf("%q: got %q, %v; want %q, %q", c.text, got, err, c.matches, c.problem)
		}
	}
	if _, err := registry.FindServices(nil, "api"); err == nil || err.Error() != `no service "api" (known: none)` {
		t.Errorf("got %v", err)
	}
}
