package preflight

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/theworklabs/edge/internal/testport"
)

// TestDockerHostMustRefuseAllButTheList has Docker hosts from a guard to the Docker Engine itself.
func TestDockerHostMustRefuseAllButTheList(t *testing.T) {
	lists := func(list string, other func(w http.ResponseWriter, r *http.Request)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/containers/json" {
				fmt.Fprint(w, list)
				return
			}
			other(w, r)
		}
	}
	forbid := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }
	for _, c := range []struct {
		name         string
		engine       http.HandlerFunc
		level        Level
		want         string
		inconclusive bool
	}{
		{"a guard", lists(`[{"Id": "1", "Command": "", "Mounts": null}]`, forbid), OK, "refuses the 7 other requests", false},
		{"the Engine itself", lists(`[]`, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }), Error, "does not refuse GET /info (it answered 200)", false},
		{"one that starts containers", lists(`[]`, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.WriteHeader(http.StatusForbidden)
		}), Error, "does not refuse POST /containers/edge-check/start (it answered 404)", false},
		{"one that shows command lines", lists(`[{"Command": "app --password x"}]`, forbid), Error, "passes Command of containers", false},
		{"one that shows mounts", lists(`[{"Mounts": [{"Source": "/"}]}]`, forbid), Error, "passes Mounts of containers", false},
		{"one that refuses everything", forbid, Error, "does not list containers: it answered 403", true},
		{"one that closes connections", lists(`[]`, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), Error, "GET /info", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.engine)
			defer server.Close()
			got := CheckDockerHost(t.Context(), "tcp://"+server.Listener.Addr().String())
			if got.Level != c.level || !strings.Contains(got.Message, c.want) || got.IsInconclusive() != c.inconclusive || (got.Hint == "") != (c.level == OK) {
				t.Errorf("got %+v, want %s: %s", got, c.level, c.want)
			}
		})
	}
	if got := CheckDockerHost(t.Context(), "unix:///var/run/docker.sock"); got.Level != Warning || got.IsInconclusive() {
		t.Errorf("%+v", got)
	}
	if got := CheckDockerHost(t.Context(), "tcp://"+testport.Address(t)); got.Level != Error || !got.IsInconclusive() || !errors.Is(got.Err(), syscall.ECONNREFUSED) {
		t.Errorf("%+v", got)
	}
}
