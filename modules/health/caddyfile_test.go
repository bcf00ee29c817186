package health_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/standard"

	"github.com/theworklabs/edge/modules/health"
)

func TestDirectiveAdaptsToJSON(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"health", `{}`},
		{"health {\n}", `{}`},
		{"health {\n details_for none\n}", `{"details_for":["none"]}`},
		{"health {\n details_for private_ranges 203.0.113.0/24 ::1\n}", `{"details_for":["private_ranges","203.0.113.0/24","::1"]}`},
		{"health {\n details_for 10.0.0.1\n details_for 10.0.0.2\n}", `{"details_for":["10.0.0.1","10.0.0.2"]}`},
	} {
		h := new(health.Handler)
		if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(c.text)); err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if got, err := json.Marshal(h); err != nil || string(got) != c.want {
			t.Errorf("%q: got %s %v, want %s", c.text, got, err, c.want)
		}
	}
}

func TestDirectiveErrorsNameTheirLine(t *testing.T) {
	for _, c := range []struct{ text, want, line string }{
		{"health {\n details_for\n}", "details_for", "Testfile:2"},
		{"health {\n details_for none\n details_for everybody\n}", `"everybody"`, "Testfile:3"},
		{"health {\n\n details 10.0.0.0/8\n}", `unknown option "details"; there is details_for`, "Testfile:3"},
		{"health /ready", "/ready", "Testfile:1"},
		{"health {\n details_for 10.0.0.0/8 10.0.0.0/40\n}", `"10.0.0.0/40"`, "Testfile:2"},
	} {
		err := new(health.Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.line) {
			t.Errorf("%q: got %v, want %q at %s", c.text, err, c.want, c.line)
		}
	}
}

func TestHealthIsAnsweredBeforeRedirects(t *testing.T) {
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("http://x {\n respond 404\n redir https://x\n @lan remote_ip 10.0.0.0/8\n health @lan\n}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	text := string(adapted)
	ours, redir := strings.Index(text, `"edge_health"`), strings.Index(text, `"Location"`)
	if ours < 0 || redir < 0 || ours > redir {
		t.Errorf("health stands at %d, the redirect at %d: %s", ours, redir, text)
	}
	if !strings.Contains(text, "remote_ip") {
		t.Errorf("the matcher is lost: %s", text)
	}
}
