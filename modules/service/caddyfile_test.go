package service_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/theworklabs/edge/modules/service"
)

// parseServiceLine reads one line of a service's configuration.
func parseServiceLine(text string) (c service.Config, ok bool, err error) {
	d := caddyfile.NewTestDispenser(text)
	d.Next()
	ok, err = c.UnmarshalLine(d)
	return c, ok, err
}

func TestServiceOptionsAdaptToJSON(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"hold 5s", `{"hold":5000000000}`},
		{`hold ""`, `{}`},
		{"max_held 7", `{"max_held":7}`},
		{"probe {\n}", `{"probe":{}}`},
		{"probe {\n uri /a /b\n uri /c\n}", `{"probe":{"uris":["/a","/b","/c"]}}`},
		{
			"probe {\n uri /a\n host x\n status 204\n body ^ok$\n tcp_fallback\n interval 1s\n timeout 2s\n rise 3\n fall 4\n jitter 0.5\n}",
			`{"probe":{"uris":["/a"],"host":"x","status":"204","body":"^ok$","tcp_fallback":true,"interval":1000000000,"timeout":2000000000,"rise":3,"fall":4,"jitter":0.5}}`,
		},
		{"probe {\n status 2xx\n uri /a\n}", `{"probe":{"uris":["/a"],"status":"2xx"}}`},
		{"probe {\n jitter 0\n}", `{"probe":{"jitter":-1}}`}, // none; in JSON, 0 is the default
		{"probe {\n jitter 1\n}", `{"probe":{"jitter":1}}`},
	} {
		config, ok, err := parseServiceLine(c.line)
		if !ok || err != nil {
			t.Errorf("%s: got %t %v", c.line, ok, err)
			continue
		}
		if got, err := json.Marshal(config); err != nil || string(got) != c.want {
			t.Errorf("%s: got %s %v, want %s", c.line, got, err, c.want)
		}
	}
	for _, text := range []string{"header_up X y", "holds 5s", "to api:80"} {
		if config, ok, err := parseServiceLine(text); ok || err != nil || config != (service.Config{}) {
			t.Errorf("%s: got %+v %t %v, want it left to the caller", text, config, ok, err)
		}
	}
}

func TestServiceOptionErrorsNameTheirLine(t *testing.T) {
	for _, c := range []struct{ text, want, line string }{
		{"hold", "argument count", "Testfile:1"},
		{"hold -1s", "positive duration", "Testfile:1"},
		{"max_held none", "above 0", "Testfile:1"},
		{"probe /health", "want a block", "Testfile:1"},
		{"probe {\n uri\n}", "argument count", "Testfile:2"},
		{"probe {\n path /a\n}", `probe: unknown option "path"; there are uri,`, "Testfile:2"},
		{"probe {\n uri /a\n interval 0\n}", "positive duration", "Testfile:3"},
		{"probe {\n uri /a\n timeout -1s\n}", "positive duration", "Testfile:3"},
		{"probe {\n uri /a\n rise 0\n}", "above 0", "Testfile:3"},
		{"probe {\n uri /a\n fall -2\n}", "above 0", "Testfile:3"},
		{"probe {\n uri /a\n jitter 1.1\n}", "0 to 1", "Testfile:3"},
		{"probe {\n uri /a\n jitter -0.1\n}", "0 to 1", "Testfile:3"},
		{"probe {\n uri /a\n jitter NaN\n}", "0 to 1", "Testfile:3"},
		{"probe {\n uri /a\n jitter some\n}", "0 to 1", "Testfile:3"},
		{"probe {\n uri /a\n tcp_fallback yes\n}", "argument count", "Testfile:3"},
		{"probe {\n uri /a\n status\n}", "argument count", "Testfile:3"},
		// Errors of the probe as a whole name the last line of the block.
		{"probe {\n uri health\n}", `"health"`, "Testfile:3"},
		{"probe {\n uri /a\n status ok\n}", `"ok"`, "Testfile:4"},
		{"probe {\n uri /a\n body (\n}", "probe body", "Testfile:4"},
		{"probe {\n status 200\n}", "need a uri", "Testfile:3"},
	} {
		_, ok, err := parseServiceLine(c.text)
		if !ok || err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.line) {
			t.Errorf("%q: got %t %v, want %q at %s", c.text, ok, err, c.want, c.line)
		}
	}
}
