package containerregistry

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/crypto/bcrypt"

	"github.com/theworklabs/edge/modules/ratelimit"
)

func newAccount(t *testing.T, name, password string, access Access) *Account {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return &Account{Name: name, PasswordHash: string(hash), Access: access}
}

func provision(t *testing.T, h *Handler) *Handler {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Cleanup() })
	return h
}

func newHandler(t *testing.T) *Handler {
	t.Helper()
	return provision(t, &Handler{Accounts: []*Account{
		newAccount(t, "reader", "r", Pull), newAccount(t, "ci", "c", Push), newAccount(t, "owner", "o", Admin),
	}})
}

// send sends a request, and returns the answer, and the request that the registry got: nil if it got none.
func send(t *testing.T, h *Handler, method, path, name, password string) (answer *httptest.ResponseRecorder, passed *http.Request, err error) {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	r = r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: "192.0.2.1"}))
	if name != "" {
		r.SetBasicAuth(name, password)
	}
	answer = httptest.NewRecorder()
	err = h.ServeHTTP(answer, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		passed = r
		w.WriteHeader(http.StatusOK)
		return nil
	}))
	return answer, passed, err
}

func TestAccountsMayDoWhatTheirAccessSays(t *testing.T) {
	h := newHandler(t)
	for _, c := range []struct {
		method, path string
		want         map[string]int
	}{
		{"GET", "/v2/", map[string]int{"reader": 200, "ci": 200, "owner": 200}},
		{"HEAD", "/v2/shop/web/manifests/1", map[string]int{"reader": 200, "ci": 200, "owner": 200}},
		{"POST", "/v2/shop/web/blobs/uploads/", map[string]int{"reader": 403, "ci": 200, "owner": 200}},
		{"PATCH", "/v2/shop/web/blobs/uploads/1", map[string]int{"reader": 403, "ci": 200, "owner": 200}},
		{"PUT", "/v2/shop/web/manifests/1", map[string]int{"reader": 403, "ci": 200, "owner": 200}},
		{"DELETE", "/v2/shop/web/blobs/uploads/1", map[string]int{"reader": 403, "ci": 200, "owner": 200}},
		{"DELETE", "/v2/x/blobs/uploads/manifests/1", map[string]int{"reader": 403, "ci": 403, "owner": 200}},
		{"DELETE", "/v2/shop/web/manifests/1", map[string]int{"reader": 403, "ci": 403, "owner": 200}},
		{"PROPFIND", "/v2/", map[string]int{"reader": 403, "ci": 200, "owner": 200}},
	} {
		for name, want := range c.want {
			got, passed, err := send(t, h, c.method, c.path, name, name[:1])
			if err != nil || got.Code != want {
				t.Errorf("%s %s of %s: %d, %v, want %d", c.method, c.path, name, got.Code, err, want)
			}
			if (passed != nil) != (want == 200) {
				t.Errorf("%s %s of %s: passed on: %t", c.method, c.path, name, passed != nil)
			}
			if want == 403 && errorCode(t, got) != "DENIED" {
				t.Errorf("%s %s of %s: %s", c.method, c.path, name, got.Body)
			}
		}
	}
}

func errorCode(t *testing.T, answer *httptest.ResponseRecorder) string {
	t.Helper()
	var body struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil || len(body.Errors) != 1 || body.Errors[0].Message == "" {
		t.Fatalf("%s is no error of the specification: %v", answer.Body, err)
	}
	return body.Errors[0].Code
}

func TestOthersAreAskedForAPassword(t *testing.T) {
	h := newHandler(t)
	for _, c := range [][2]string{{"", ""}, {"reader", "wrong"}, {"nobody", "r"}, {"reader", ""}, {"ci", "r"}, {"reader", strings.Repeat("r", 100)}} {
		got, passed, err := send(t, h, "GET", "/v2/", c[0], c[1])
		if err != nil || got.Code != http.StatusUnauthorized || passed != nil || errorCode(t, got) != "UNAUTHORIZED" {
			t.Errorf("%q: %d %s, %v; passed on: %t", c, got.Code, got.Body, err, passed != nil)
		}
		if got := got.Header().Get("WWW-Authenticate"); !strings.HasPrefix(got, `Basic realm=`) {
			t.Errorf("%q: WWW-Authenticate %q", c, got)
		}
	}
}

func TestTheRegistryDoesNotGetThePassword(t *testing.T) {
	_, passed, err := send(t, newHandler(t), "GET", "/v2/", "reader", "r")
	if err != nil || passed == nil {
		t.Fatal(passed, err)
	}
	if got := passed.Header.Get("Authorization"); got != "" {
		t.Errorf("it got %q", got)
	}
	if got, _ := passed.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).GetString("http.auth.user.id"); got != "reader" {
		t.Errorf("the access log gets the account %q", got)
	}
}

func TestThereAreNoOtherPaths(t *testing.T) {
	h := newHandler(t)
	for _, path := range []string{"/", "/v1/", "/v2x", "/metrics", "/debug/health"} {
		_, passed, err := send(t, h, "GET", path, "owner", "o")
		if failed, ok := err.(caddyhttp.HandlerError); !ok || failed.StatusCode != http.StatusNotFound || passed != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestOnlyNewPasswordsCountAsLogIns(t *testing.T) {
	h := provision(t, &Handler{
		Accounts:   []*Account{newAccount(t, "reader", "r", Pull)},
		LoginLimit: &ratelimit.Zone{Name: "login_test", Events: 1, Window: caddy.Duration(time.Hour), Burst: 3},
	})
	for range 100 {
		if got, _, err := send(t, h, "GET", "/v2/", "reader", "r"); err != nil || got.Code != http.StatusOK {
			t.Fatal(got.Code, err)
		}
	}
	for range 2 { // the first right one was the first of three
		if got, _, err := send(t, h, "GET", "/v2/", "reader", "wrong"); err != nil || got.Code != http.StatusUnauthorized {
			t.Fatal(got.Code, err)
		}
	}
	_, _, err := send(t, h, "GET", "/v2/", "reader", "wrong")
	if failed, ok := err.(caddyhttp.HandlerError); !ok || failed.StatusCode != http.StatusTooManyRequests {
		t.Errorf("the third wrong password: %v", err)
	}
	if got, _, err := send(t, h, "GET", "/v2/", "reader", "r"); err != nil || got.Code != http.StatusOK {
		t.Errorf("whoever has logged in before: %d, %v", got.Code, err)
	}
	for range 10 { // without a password, nothing is tried
		if got, _, err := send(t, h, "GET", "/v2/", "", ""); err != nil || got.Code != http.StatusUnauthorized {
			t.Fatal(got.Code, err)
		}
	}
	if got := len(h.verified.hashes); got != 1 {
		t.Errorf("%d passwords are remembered, want 1", got)
	}
}

func TestBadAccountsAreRefused(t *testing.T) {
	good := newAccount(t, "ci", "c", Push)
	for want, accounts := range map[string][]*Account{
		"at least one account":       nil,
		"account 1 is null":          {nil},
		"configured twice":           {good, good},
		`account "": want a name`:    {{PasswordHash: good.PasswordHash, Access: Pull}},
		`account "a:b": want a name`: {{Name: "a:b", PasswordHash: good.PasswordHash, Access: Pull}},
		`access "write": there are`:  {{Name: "ci", PasswordHash: good.PasswordHash, Access: "write"}},
		"edge hash-password":         {{Name: "ci", PasswordHash: "secret", Access: Pull}},
		"the cost 31 of the hash":    {{Name: "ci", PasswordHash: strings.Replace(good.PasswordHash, "$04$", "$31$", 1), Access: Pull}},
	} {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
		err := (&Handler{Accounts: accounts}).Provision(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
