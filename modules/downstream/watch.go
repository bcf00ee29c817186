package downstream

import (
	"context"
	"net/http"
	"time"
)

// watchInterval is how often it is looked whether a client is still there.
const watchInterval = 250 * time.Millisecond

// Watch returns a context that ends when the client of a request leaves, for as long as the request waits and its body is not
// read; net/http's own ends only when it reads. Call stop when the wait is over.
func Watch(r *http.Request) (ctx context.Context, stop func()) {
	conn := ConnOf(r)
	if conn == nil || r.Body == nil || r.Body == http.NoBody {
		return r.Context(), func() {}
	}
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(watchInterval)
		defer ticker.Stop()
		for {
			if conn.IsClosedByClient() {
				cancel()
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	return ctx, func() {
		cancel()
		<-done
	}
}
