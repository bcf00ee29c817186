// Package load sends requests at a steady rate and records their outcomes.
//
// The rate does not depend on responses (an open loop), and the time of a request begins when it is due: a request that waits behind
// others is late, as it is for its user.
package load

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// MethodMix has the methods of a stream in turn: half GET, an eighth each PUT and DELETE, a quarter POST.
var MethodMix = []string{
	http.MethodGet, http.MethodPut, http.MethodGet, http.MethodPost, http.MethodGet, http.MethodDelete, http.MethodGet, http.MethodPost,
}

// Idempotent reports whether a method of MethodMix is idempotent (RFC 9110, section 9.2.2).
func Idempotent(method string) bool { return method != http.MethodPost }

// slowPath is answered after 40 ms: requests that are answered at once are never in flight during a change.
const slowPath = "/_test/slow?d=40ms"

// Stream sends requests to one service through one proxy.
type Stream struct {
	Address string        // of the proxy: HOST:PORT or the path of a unix socket
	Host    string        // the host of the service
	Path    string        // "": slowPath
	Rate    int           // requests a second, above 0
	Timeout time.Duration // of one request; 0: 45 s
	Name    string        // prefix of the X-Test-Id of each request; unique among the streams of an arrival log
}

// Run sends requests until ctx ends, and waits for their responses.
func (s Stream) Run(ctx context.Context) *Record {
	client := s.client()
	defer client.CloseIdleConnections()
	r := &Record{Began: time.Now()}
	var all sync.WaitGroup
	defer all.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; ; i++ {
		due := r.Began.Add(time.Duration(i) * time.Second / time.Duration(s.Rate))
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			all.Wait()
			return r
		case <-timer.C:
		}
		// The end of ctx must not cancel requests.
		all.Go(func() { r.add(s.send(context.WithoutCancel(ctx), client, MethodMix[i%len(MethodMix)], i, due)) })
	}
}

// Burst sends n requests at once, and waits for their responses. The end of ctx cancels requests: those without a response have an
// unknown outcome.
func (s Stream) Burst(ctx context.Context, n int, methods ...string) *Record {
	client := s.client()
	defer client.CloseIdleConnections()
	r := &Record{Began: time.Now()}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { r.add(s.send(ctx, client, methods[i%len(methods)], i, r.Began)) })
	}
	all.Wait()
	return r
}

// client returns a client that keeps connections alive, as browsers do.
func (s Stream) client() *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &http.Client{
		Timeout:       cmp.Or(s.Timeout, 45*time.Second),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 1024,
			DisableCompression:  true,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				if strings.HasPrefix(s.Address, "/") {
					network = "unix"
				}
				return dialer.DialContext(ctx, network, s.Address)
			},
		},
	}
}

// send sends one request and waits for its complete response.
func (s Stream) send(ctx context.Context, client *http.Client, method string, i int, due time.Time) (sample Sample) {
	sample = Sample{Method: method, ID: fmt.Sprintf("%s-%d", s.Name, i), Due: due}
	defer func() { sample.Took = time.Since(due) }()
	body := ""
	if method == http.MethodPost || method == http.MethodPut {
		body = fmt.Sprintf(`{"order": %d}`, i)
	}
	var conns, wrote atomic.Int32
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { conns.Add(1) },
		WroteHeaders: func() { wrote.Add(1) },
	})
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.Host+cmp.Or(s.Path, slowPath), strings.NewReader(body))
	if err != nil {
		sample.Outcome, sample.Detail = Refused, err.Error()
		return sample
	}
	req.Header.Set("X-Test-Id", sample.ID)
	if Idempotent(method) {
		// A client repeats such a request when a kept connection turns out to be closed (RFC 9112, section 9.3.1). net/http does
		// so if this header is present and empty. It does not send it.
		req.Header["Idempotency-Key"] = []string{}
	}
	resp, err := client.Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	sample.Repeats = max(int(conns.Load())-1, 0)
	if err != nil {
		sample.Outcome, sample.Detail = classifyError(err, wrote.Load() > 0), shortError(err)
		return sample
	}
	sample.Outcome, sample.Backend = classify(resp), resp.Header.Get(BackendHeader)
	if sample.Outcome != Answered {
		sample.Detail = resp.Status
	}
	return sample
}

// Pair is a stream to the service that changes, and one to a control service, through the same proxy at the same time. The machine
// affects both; the difference shows the effect of the proxy.
type Pair struct {
	Service Stream
	Control Stream
}

// Run runs both streams until ctx ends.
func (p Pair) Run(ctx context.Context) (service, control *Record) {
	var both sync.WaitGroup
	both.Go(func() { service = p.Service.Run(ctx) })
	both.Go(func() { control = p.Control.Run(ctx) })
	both.Wait()
	return service, control
}
