package cdn

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

// TestACDNStoresNoErrorOfTheDocumentation, which has no preset; its files are stored as Cloudflare does by default.
func TestACDNStoresNoErrorOfTheDocumentation(t *testing.T) {
	s := start(t)
	for target, want := range map[string]string{"/assets/fails-404.js": "404 no-store BYPASS", "/assets/fails-500.js": "500 no-store BYPASS", "/assets/icon-77c0de.svg": "200  HIT"} {
		var got string
		for range 2 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.visitors.URL+target, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = "docs.localhost"
			resp, err := s.visitors.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			got = fmt.Sprintf("%d %s %s", resp.StatusCode, resp.Header.Get("CDN-Cache-Control"), resp.Header.Get("CF-Cache-Status"))
		}
		if got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

// TestWhoSaysForHowLongAPageMayBeUsed: the application, the site's own directive, and only else the preset.
func TestWhoSaysForHowLongAPageMayBeUsed(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		for name, value := range map[string]string{"/control": "max-age=60", "/private": "private"} {
			if r.URL.Path == name {
				w.Header().Set("Cache-Control", value)
			}
		}
		switch r.URL.Path {
		case "/expires":
			w.Header().Set("Expires", "Mon, 30 Nov 2026 12:00:00 GMT")
		case "/pdf":
			w.Header().Set("Content-Type", "application/pdf")
		case "/missing":
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer app.Close()
	server := httptest.NewServer(app.Config.Handler)
	defer server.Close()
	plain, own := testport.Address(t), testport.Address(t)
	preset := fmt.Sprintf("bigcapital {\n server %s\n webapp %s\n}\n", server.Listener.Addr(), app.Listener.Addr())
	harness.StartEdge(t, fmt.Sprintf("{\n admin off\n persist_config off\n auto_https off\n storage file_system %s\n edge {\n resolver 127.0.0.1:1\n }\n}\nhttp://%s {\n%s}\nhttp://%s {\n header Cache-Control max-age=5\n%s}\n",
		t.TempDir(), plain, preset, own, preset))
	for _, c := range []struct {
		url  string
		want []string
	}{
		{plain + "/", []string{"no-cache"}},
		{plain + "/missing", []string{"no-cache"}},
		{plain + "/control", []string{"max-age=60"}},
		{plain + "/private", []string{"private"}},
		{plain + "/expires", nil},
		{plain + "/pdf", nil},
		{own + "/", []string{"max-age=5"}},
	} {
		harness.Eventually(t, c.url+" answers", func() bool {
			got, err := harness.Do(http.DefaultClient, http.MethodGet, "http://"+c.url, nil)
			return err == nil && got.Status < 500
		})
		got, err := harness.Do(http.DefaultClient, http.MethodGet, "http://"+c.url, nil)
		if err != nil || !slices.Equal(got.Header.Values("Cache-Control"), c.want) {
			t.Errorf("%s: Cache-Control %q, %v; want %q", c.url, got.Header.Values("Cache-Control"), err, c.want)
		}
	}
}
