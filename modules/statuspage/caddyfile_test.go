package statuspage

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestErrorsOfTheCaddyfile(t *testing.T) {
	for text, want := range map[string]string{
		"edge_status x": "wrong argument count", "edge_status {\n other\n}": "there are addresses_for and actions", "edge_status {\n addresses_for\n}": "wrong argument count",
		"edge_status {\n addresses_for nowhere\n}": "want an address, a range", "edge_status {\n actions now\n}": "wrong argument count",
	} {
		err := new(Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}
