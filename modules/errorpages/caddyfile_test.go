package errorpages_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

// adapt returns the JSON of a site with these lines in handle_errors.
func adapt(lines string) (string, error) {
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(
		[]byte("http://a.example {\nhandle_errors {\n"+lines+"\n}\n}\n"), map[string]any{"filename": "Caddyfile"})
	return string(adapted), err
}

func TestDirectiveAdaptsToHandler(t *testing.T) {
	got, err := adapt("error_pages")
	if err != nil || !json.Valid([]byte(got)) || !strings.Contains(got, `{"handler":"error_pages"}`) {
		t.Errorf("%v %s", err, got)
	}
	got, err = adapt("respond bye\nerror_pages\nlog_append error {err.message}")
	if logIndex, pageIndex, endIndex := strings.Index(got, "log_append"), strings.Index(got, "error_pages"), strings.Index(got, "static_response"); err != nil || logIndex < 0 || pageIndex < logIndex || endIndex < pageIndex {
		t.Errorf("got the wrong order, %v: %s", err, got)
	}
}

func TestUnknownOptionsAreErrorsWithFileAndLine(t *testing.T) {
	for lines, want := range map[string]string{
		"error_pages * 404":                      `error_pages takes no argument, got "404"; it responds with the status of the error, at Caddyfile:3`,
		"error_pages {\ncontact me@a.example\n}": `error_pages has no options, got "contact", at Caddyfile:4`,
	} {
		if _, err := adapt(lines); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", lines, err, want)
		}
	}
}
