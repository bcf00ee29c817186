package proxy_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"sync"
	"testing"
)

// BenchmarkWaiting measures the memory of requests that wait for their answer, through edge_proxy and through Caddy's own
// reverse_proxy in one run: client and backend included, so that the ratio counts.
func BenchmarkWaiting(b *testing.B) {
	const requests = 80 // one QUIC connection has 100 streams
	for _, version := range []string{"HTTP/1.1", "HTTP/2.0", "HTTP/3.0"} {
		for _, path := range []string{"/stock", "/edge"} {
			b.Run(version+path, func(b *testing.B) {
				came, release := make(chan struct{}, requests), make(chan struct{})
				a := newBackend(b, func(w http.ResponseWriter, _ *http.Request) {
					came <- struct{}{}
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
					<-came
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

// memoryInUse returns what heap and stacks take, without garbage.
func memoryInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
