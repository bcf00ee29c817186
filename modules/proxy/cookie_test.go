package proxy

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/registry"
)

// newTestCookies returns the cookies of a service with two endpoints.
func newTestCookies(t testing.TB, key string) (*cookies, *registry.Feed) {
	t.Helper()
	r := registry.New(registry.Options{})
	t.Cleanup(r.Close)
	s, err := r.Declare("api:80")
	if err != nil {
		t.Fatal(err)
	}
	feed := r.Feed(registry.Engine)
	feed.Set("api", []registry.Member{member("a", "10.0.0.1"), member("b", "10.0.0.2")})
	feed.SetOnline(true)
	return newCookies(s, func() []byte { return []byte(key) }), feed
}

func member(id, addr string) registry.Member {
	return registry.Member{ID: id, Addr: netip.MustParseAddr(addr), Phase: registry.Running}
}

// requestWithCookie returns a request with a Cookie header.
func requestWithCookie(header string) *http.Request {
	return &http.Request{Header: http.Header{"Cookie": {header}}}
}

func TestACookieLeadsToItsEndpointUntilThatIsRemoved(t *testing.T) {
	jar, feed := newTestCookies(t, "key")
	a := jar.value("a")
	if id, known := jar.endpoint(requestWithCookie("x=1; edge_api_80=" + a)); id != "a" || !known {
		t.Errorf("it leads to %q, known %t", id, known)
	}
	feed.Set("api", []registry.Member{member("b", "10.0.0.2"), member("c", "10.0.0.1")})
	if id, known := jar.endpoint(requestWithCookie("edge_api_80=" + a)); id != "" || known {
		t.Errorf("when its container is gone, it leads to %q, known %t", id, known)
	}
	if id, known := jar.endpoint(requestWithCookie("edge_api_80=" + jar.value("c"))); id != "c" || !known {
		t.Errorf("the new container's leads to %q, known %t", id, known)
	}
	if id, known := jar.endpoint(requestWithCookie("other=1")); id != "" || !known {
		t.Errorf("without a cookie: %q, known %t; there is nothing to wait for", id, known)
	}
}

func TestAnotherKeyMakesOtherCookies(t *testing.T) {
	one, _ := newTestCookies(t, "one")
	two, _ := newTestCookies(t, "two")
	if one.value("a") == two.value("a") || one.value("a") == one.value("b") {
		t.Error("the values don't depend on the key or the endpoint")
	}
	if id, _ := one.endpoint(requestWithCookie("edge_api_80=" + two.value("a"))); id != "" {
		t.Errorf("a cookie of another key leads to %q", id)
	}
}

func TestACookieIsValidAfterTheEndpointsIdentityChanges(t *testing.T) {
	r := registry.New(registry.Options{})
	t.Cleanup(r.Close)
	service, err := r.Declare("api:80")
	if err != nil {
		t.Fatal(err)
	}
	jar := newCookies(service, func() []byte { return []byte("key") })
	r.Feed(registry.DNS).Set("api", []registry.Member{member("10.0.0.1", "10.0.0.1")})
	early := jar.value("10.0.0.1")
	engine := r.Feed(registry.Engine)
	engine.Set("api", []registry.Member{member("a", "10.0.0.1")})
	engine.SetOnline(true)
	id, known := jar.endpoint(requestWithCookie("edge_api_80=" + early))
	if !known || !jar.service.IsSameEndpoint(id, "a") {
		t.Errorf("it leads to %q, known %t", id, known)
	}
}

func FuzzForgedCookiesLeadNowhere(f *testing.F) {
	jar, _ := newTestCookies(f, "key")
	a, b := jar.value("a"), jar.value("b")
	for _, header := range []string{"", "=", "edge_api_80", "edge_api_80=", "edge_api_80=" + a, "edge_api_80=\"" + b + "\"", "edge_api_80=" + a + "; edge_api_80=" + b, "\x00; edge_api_80=10.0.0.1"} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if id, _ := jar.endpoint(requestWithCookie(header)); id != "" && !strings.Contains(header, jar.value(id)) {
			t.Errorf("%q leads to %s", header, id)
		}
	})
}
