package proxy_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"testing"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/modules/edge"
)

// TestABrokenOffResponseIsLost: its client gets a part, and has to learn that it is one. The ends of event streams, and clients that leave, are no loss.
func TestABrokenOffResponseIsLost(t *testing.T) {
	for name, c := range map[string]struct {
		header map[string]string // of the response
		length int               // of the part that is sent
		leaves bool              // the client, and not the endpoint
		lost   uint64
	}{
		"with a length":   {map[string]string{"Content-Length": "100"}, 50, false, 1},
		"a long one":      {map[string]string{"Content-Length": strconv.Itoa(8 << 20)}, 4 << 20, false, 1}, // the kernel copies it
		"in chunks":       {nil, 5000, false, 1},
		"before the body": {map[string]string{"Content-Length": "100"}, 0, false, 1},
		"events":          {map[string]string{"Content-Type": "text/event-stream; charset=utf-8"}, 50, false, 0},
		"the client left": {nil, 50, true, 0},
		"complete":        {map[string]string{"Content-Length": "50"}, 50, false, 0},
	} {
		for _, options := range []string{"", "{\n verbose_logs \n}"} { // with the second, reverse_proxy forwards the response
			t.Run(name+options, func(t *testing.T) {
				hasLeft := make(chan struct{})
				b := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/part" {
						return
					}
					for field, value := range c.header {
						w.Header().Set(field, value)
					}
					_, _ = w.Write(make([]byte, c.length))
					_ = http.NewResponseController(w).Flush()
					if c.leaves {
						<-r.Context().Done()
						close(hasLeft)
					}
					panic(http.ErrAbortHandler)
				}).start(t)
				s := serveReady(t, "edge_proxy api:80 "+options, b.address)
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/part", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if c.leaves {
					leave()
					<-hasLeft
				}
				n, err := io.Copy(io.Discard, resp.Body)
				if isWhole := name == "complete"; !c.leaves && (int(n) != c.length || isWhole != (err == nil)) {
					t.Errorf("the client got %d bytes, and %v", n, err)
				}
				eventually(t, func() bool { return edge.Snapshot()[0].InFlight == 0 }, "the request does not end")
				if got, want := edge.Snapshot()[0].Lost, (registry.Lost{BrokenOff: c.lost}); got != want {
					t.Errorf("lost: %+v, want %+v", got, want)
				}
			})
		}
	}
}
