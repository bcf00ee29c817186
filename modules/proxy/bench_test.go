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
	s.until(b, "/edge", "xxx")
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	for _, path := range []string{"/stock", "/edge"} {
		b.Run(path[1:], func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					resp, err := client.Get(s.url + path)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		})
	}
}
