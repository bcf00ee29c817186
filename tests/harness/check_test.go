package harness

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestCheckGetReportsWhatDiffers(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Host", r.Host)
		_, _ = io.WriteString(w, "hello")
	}))
	defer server.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	p := &Project{HTTP: port}
	for _, c := range []struct {
		want    Want
		failure string
	}{
		{Want{Status: 200, Contains: "ell", Lacks: "no", Header: map[string]string{"X-Host": "shop.localhost", "X-Other": ""}}, ""},
		{Want{Status: 404}, "status 200, want 404"},
		{Want{Contains: "no"}, `"no" is missing`},
		{Want{Lacks: "ell"}, `"ell" is in status 200`},
		{Want{Header: map[string]string{"X-Host": ""}}, `X-Host is "shop.localhost", want ""`},
		{Want{}, "the test wants nothing"},
	} {
		r := &recorder{TB: t}
		r.run(func(t testing.TB) { p.CheckGet(t, "http://shop.localhost/", c.want) })
		if got := strings.Join(r.failures, "; "); got == "" != (c.failure == "") || !strings.Contains(got, c.failure) {
			t.Errorf("%+v: the test failed with %q, want %q", c.want, got, c.failure)
		}
	}
}

func TestReplacedAndUnchangedContainersAreTold(t *testing.T) {
	a, ab, bc, cd, none := []string{"a"}, []string{"a", "b"}, []string{"b", "c"}, []string{"c", "d"}, []string{}
	for _, c := range []struct {
		before, after       []string
		replaced, unchanged bool
	}{
		{ab, cd, true, false},
		{ab, bc, false, false},
		{ab, ab, false, true},
		{ab, a, false, false},
		{cd, a, false, false}, // one of two
		{none, none, false, false},
	} {
		r := &recorder{TB: t}
		CheckReplaced(r, "web", c.before, c.after, 2)
		if passes := !r.Failed(); passes != c.replaced {
			t.Errorf("%v → %v: replaced %t, want %t", c.before, c.after, passes, c.replaced)
		}
		r = &recorder{TB: t}
		CheckUnchanged(r, "web", c.before, c.after)
		if passes := !r.Failed(); passes != c.unchanged {
			t.Errorf("%v → %v: unchanged %t, want %t", c.before, c.after, passes, c.unchanged)
		}
	}
}
