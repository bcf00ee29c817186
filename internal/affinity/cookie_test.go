package affinity

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
	service, err := r.Declare("api:80")
	if err != nil {
		t.Fatal(err)
	}
	feed := r.Feed(registry.Engine)
	feed.Set("api", []registry.Member{member("a", "10.0.0.1"), member("b", "10.0.0.2")})
	feed.SetOnline(true)
	return newCookies(service, func() []byte { return []byte(key) }), feed
}

func member(id, addr string) registry.Member {
	return registry.Member{ID: id, Addr: netip.MustParseAddr(addr), Phase: registry.Running}
}

// requestWithCookie returns a request with a Cookie header.
func requestWithCookie(header string) *http.Request {
	return &http.Request{Header: http.Header{"Cookie": {header}}}
}

func TestACookieNamesItsEndpointUntilThatIsRemoved(t *testing.T) {
	cookies, feed := newTestCookies(t, "key")
	a := cookies.value("a")
	if id, isKnown := cookies.endpoint(requestWithCookie("x=1; edge_api_80=" + a)); id != "a" || !isKnown {
		t.Errorf("the cookie names %q, known %t", id, isKnown)
	}
	feed.Set("api", []registry.Member{member("b", "10.0.0.2"), member("c", "10.0.0.1")})
	if id, isKnown := cookies.endpoint(requestWithCookie("edge_api_80=" + a)); id != "" || isKnown {
		t.Errorf("after its container was removed, the cookie names %q, known %t; want an unknown one", id, isKnown)
	}
	if id, isKnown := cookies.endpoint(requestWithCookie("edge_api_80=" + cookies.value("c"))); id != "c" || !isKnown {
		t.Errorf("the new container's cookie names %q, known %t", id, isKnown)
	}
	if id, isKnown := cookies.endpoint(requestWithCookie("other=1")); id != "" || !isKnown {
		t.Errorf("without a cookie: %q, known %t; want \"\" and true", id, isKnown)
	}
}

func TestAnotherKeyMakesOtherCookies(t *testing.T) {
	one, _ := newTestCookies(t, "one")
	two, _ := newTestCookies(t, "two")
	if one.value("a") == two.value("a") || one.value("a") == one.value("b") {
		t.Error("the values do not depend on the key or the endpoint")
	}
	if id, _ := one.endpoint(requestWithCookie("edge_api_80=" + two.value("a"))); id != "" {
		t.Errorf("a cookie of another key names %q", id)
	}
}

func TestACookieIsValidAfterTheEndpointsIdentityChanges(t *testing.T) {
	r := registry.New(registry.Options{})
	t.Cleanup(r.Close)
	service, err := r.Declare("api:80")
	if err != nil {
		t.Fatal(err)
	}
	cookies := newCookies(service, func() []byte { return []byte("key") })
	r.Feed(registry.DNS).Set("api", []registry.Member{member("10.0.0.1", "10.0.0.1")})
	early := cookies.value("10.0.0.1")
	engine := r.Feed(registry.Engine)
	engine.Set("api", []registry.Member{member("a", "10.0.0.1")})
	engine.SetOnline(true)
	id, isKnown := cookies.endpoint(requestWithCookie("edge_api_80=" + early))
	if !isKnown || !cookies.service.IsSameEndpoint(id, "a") {
		t.Errorf("the cookie names %q, known %t", id, isKnown)
	}
}

func FuzzForgedCookiesNameNoEndpoint(f *testing.F) {
	cookies, _ := newTestCookies(f, "key")
	a, b := cookies.value("a"), cookies.value("b")
	for _, header := range []string{"", "=", "edge_api_80", "edge_api_80=", "edge_api_80=" + a, "edge_api_80=\"" + b + "\"", "edge_api_80=" + a + "; edge_api_80=" + b, "\x00; edge_api_80=10.0.0.1"} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if id, _ := cookies.endpoint(requestWithCookie(header)); id != "" && !strings.Contains(header, cookies.value(id)) {
			t.Errorf("%q names %s", header, id)
		}
	})
}

func TestACookieIsNamedAfterTheFirstNameOfItsService(t *testing.T) {
	for service, want := range map[string]string{
		"bigcapital-server:3000":                          "edge_bigcapital-server_3000",
		"bigcapital-server-2:3000,bigcapital-server:3000": "edge_bigcapital-server_3000",
		"shop/web:8080":                                   "edge_shop_web_8080",
	} {
		r := registry.New(registry.Options{})
		s, err := r.Declare(service)
		if err != nil {
			t.Fatal(err)
		}
		if got := newCookies(s, nil).name; got != want {
			t.Errorf("%s: got %s, want %s", service, got, want)
		}
		r.Close()
	}
}
