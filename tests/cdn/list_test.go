package cdn

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// TestTheListOfAddressesIsRefreshedByACommand, from a server that answers as Cloudflare's documentation says: the real one cannot be reached from here. Whatever cannot be Cloudflare's list
// is refused, and the one before counts.
func TestTheListOfAddressesIsRefreshedByACommand(t *testing.T) {
	s := start(t)
	binary, err := harness.EdgeBinary()
	if err != nil {
		t.Fatal(err)
	}
	edge := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), binary, append(append([]string{"cloudflare"}, args...), "--address", s.admin)...).CombinedOutput()
		return string(out), err
	}
	shown, err := edge()
	if err != nil || !strings.HasPrefix(shown, "the list of 20") {
		t.Fatalf("%v: %s", err, shown)
	}
	var v4, v6 []string
	for _, r := range strings.Fields(shown[strings.Index(shown, "\n"):]) {
		if strings.Contains(r, ":") {
			v6 = append(v6, r)
		} else {
			v4 = append(v4, r)
		}
	}
	var reply atomic.Pointer[func(w http.ResponseWriter)]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { (*reply.Load())(w) }))
	defer server.Close()
	list := func(isSuccess bool, v4, v6 []string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			_ = json.NewEncoder(w).Encode(map[string]any{"success": isSuccess, "result": map[string]any{"ipv4_cidrs": v4, "ipv6_cidrs": v6, "etag": "x"}})
		}
	}
	for name, c := range map[string]struct {
		reply func(http.ResponseWriter)
		want  string
	}{
		"an error":                 {func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }, "answered 502 Bad Gateway"},
		"a page":                   {func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) }, "invalid character"},
		"no success":               {list(false, v4, v6), "without success"},
		"a range that is not one":  {list(true, append([]string{"1.2.3.4"}, v4...), v6), "netip.ParsePrefix"},
		"private addresses":        {list(true, append([]string{"10.0.0.0/8"}, v4...), v6), "10.0.0.0/8"},
		"all addresses":            {list(true, append([]string{"0.0.0.0/0"}, v4...), v6), "0.0.0.0/0"},
		"a list that is too short": {list(true, v4[:1], nil), "ranges"},
		"a connection that breaks": {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		reply.Store(&c.reply)
		out, err := edge("refresh", "--url", server.URL)
		if err == nil || !strings.Contains(out, c.want) || !strings.Contains(out, "still counts") {
			t.Errorf("%s: %v: %s; want %q, and which list counts", name, err, out, c.want)
		}
		if now, _ := edge(); now != shown {
			t.Errorf("after %s, the list is %s", name, now)
		}
	}
	const added = "203.0.113.0/24"
	newer := list(true, append([]string{added}, v4[1:]...), v6)
	reply.Store(&newer)
	out, err := edge("refresh", "--url", server.URL)
	today := time.Now().UTC().Format(time.DateOnly)
	if err != nil || !strings.Contains(out, "new: "+added) || !strings.Contains(out, "gone: "+v4[0]) || !strings.Contains(out, "the date "+today) {
		t.Errorf("%v: %s", err, out)
	}
	if now, err := edge(); err != nil || !strings.HasPrefix(now, "the list of "+today+":\n"+added) {
		t.Errorf("%v: %s", err, now)
	}
}
