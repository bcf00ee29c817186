// Package load sends requests at a steady rate and tells what became of each.
//
// The rate is kept whether answers come or not (an open loop), and a request's time runs from when it was due: one that
// waits behind others is as late as its user would find it.
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

// MethodMix is the methods of a stream, in turn: half GET, an eighth each PUT and DELETE, a quarter POST.
var MethodMix = []string{
	http.MethodGet, http.MethodPut, http.MethodGet, http.MethodPost, http.MethodGet, http.MethodDelete, http.MethodGet, http.MethodPost,
}

// Idempotent reports whether a method may be sent twice (RFC 9110, section 9.2.2).
func Idempotent(method string) bool { return method != http.MethodPost }

// slowPath is answered after 40 ms: requests that are answered at once are never under way when something happens.
const slowPath = "/_test/slow?d=40ms"

// Stream is requests to one service by way of one proxy.
type Stream struct {
	Address string        // of the proxy, HOST:PORT or the path of a unix socket
	Host    string        // the service's name there
	Path    string        // what is asked for; "": slowPath
	Rate    int           // requests a second, above 0
	Timeout time.Duration // of one request; 0: 45 s
	Name    string        // begins the X-Test-Id of each request: unique among the streams of a ledger
}

// Run sends requests until ctx ends, waits for their answers, and returns what became of them.
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
		// A request outlives ctx: what became of it is what matters.
		all.Go(func() { r.add(s.send(context.WithoutCancel(ctx), client, MethodMix[i%len(MethodMix)], i, due)) })
	}
}

// Burst sends n requests at once, waits for their answers, and returns what became of them. If ctx ends, the client
// leaves: those that are not answered by then are unknown.
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

// client keeps connections, as browsers do.
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

// send sends one request and waits for its whole answer.
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
		// A client repeats such a request on its own when a kept connection turns out to be closed (RFC 9112, section
		// 9.3.1). net/http does so if this is there, empty; it isn't sent.
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
