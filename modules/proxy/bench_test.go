package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// BenchmarkRoundTrip compares edge_proxy with Caddy's own reverse_proxy in one run: client and backend included, so
// that the ratio counts and not the numbers.
func BenchmarkRoundTrip(b *testing.B) {
	body := strings.Repeat("x", 1024)
	a := newBackend(b, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }).start(b)
	s := serve(b, map[string][]string{"api:80": {a.address}},
		"handle /edge {\n edge_proxy api:80\n}\nhandle /stock {\n reverse_proxy "+a.address+"\n}")
	s.eventuallyResponds(b, "/edge", "xxx")
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, path := range []string{"/stock", "/edge"} {
			b.Run(method+path, func(b *testing.B) {
				b.ReportAllocs()
				b.SetParallelism(8)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						exchange(b, client, method, s.url+path)
					}
				})
			})
		}
	}
}

// exchange makes a request, with 60 bytes if it is a POST, and reads the answer.
func exchange(b *testing.B, client *http.Client, method, url string) {
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(strings.Repeat("x", 60))
	}
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		b.Error(err)
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		b.Error(err)
	}
}
