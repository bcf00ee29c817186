package proxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// BenchmarkRoundTrip compares edge_proxy with Caddy's own reverse_proxy in one run. The numbers include the client and the
// backend, so only their ratio is meaningful.
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

// exchange sends a request, a POST with 60 bytes, and reads the response.
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

// BenchmarkWaiting measures the memory of requests that wait for their response, through edge_proxy and through Caddy's own
// reverse_proxy in one run. The numbers include the client and the backend, so only their ratio is meaningful.
func BenchmarkWaiting(b *testing.B) {
	const requests = 80 // one QUIC connection has 100 streams
	for _, version := range []string{"HTTP/1.1", "HTTP/2.0", "HTTP/3.0"} {
		for _, path := range []string{"/stock", "/edge"} {
			b.Run(version+path, func(b *testing.B) {
				arrived, release := make(chan struct{}, requests), make(chan struct{})
				a := newBackend(b, func(w http.ResponseWriter, _ *http.Request) {
					arrived <- struct{}{}
					<-release
				}).start(b)
				url := serveTLS(b, a.address, "handle /edge {\n edge_proxy api:80\n}\nhandle /stock {\n reverse_proxy "+a.address+"\n}")
				client := transportPerVersion(b)[version]
				var done sync.WaitGroup
				send := func() {
					req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url+path, nil)
					if err != nil {
						b.Error(err)
						return
					}
					resp, err := client.RoundTrip(req)
					if err != nil {
						if !errors.Is(err, context.Canceled) {
							b.Error(err)
						}
						return
					}
					resp.Body.Close()
				}
				before := memoryInUse()
				for range requests {
					done.Go(send)
				}
				for range requests {
					<-arrived
				}
				used := memoryInUse() - before
				close(release)
				done.Wait()
				b.ReportMetric(float64(used)/requests/1024, "KiB/request")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// memoryInUse returns the bytes of live heap objects and stacks.
func memoryInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
