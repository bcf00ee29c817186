package main

import (
	"strings"
	"testing"
)

func TestAProfileIsDividedByOwner(t *testing.T) {
	const top = `File: edge
Type: cpu
Showing nodes accounting for 1000ms, 100% of 1000ms total
      flat  flat%   sum%        cum   cum%
     500ms 50.00% 50.00%      500ms 50.00%  internal/runtime/syscall/linux.Syscall6
       0ms 0.00% 50.00%      300ms 30.00%  syscall.write
       0ms 0.00% 50.00%      200ms 20.00%  syscall.Close
       0ms 0.00% 50.00%      500ms 50.00%  syscall.RawSyscall6
       0ms 0.00% 50.00%      500ms 50.00%  syscall.Write
     200ms 20.00% 70.00%      300ms 30.00%  runtime.mallocgcTiny
     150ms 15.00% 85.00%      900ms 90.00%  github.com/theworklabs/edge/modules/proxy.(*direct).respond (inline)
     149ms 14.90% 99.90%      149ms 14.90%  github.com/prometheus/client_golang/prometheus.(*counter).Add
       1ms  0.10%   100%        1ms  0.10%  runtime.gopark
`
	var out strings.Builder
	if err := writeProfile(&out, profiled{method: "POST", version: "HTTP/1.1"}, top); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"POST 1 KB over HTTP/1.1, 64 connections: 1.0 s of processor time in 10 s",
		"| the kernel: system calls | 50.0 % |",
		"| Go's allocation and garbage collection | 20.0 % |",
		"| Go's scheduler and runtime | 0.1 % |",
		"| the edge | 15.0 % |",
		"| other packages | 14.9 % |",
		"| the edge | `github.com/theworklabs/edge/modules/proxy.(*direct).respond` | 15.0 % |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "gopark") {
		t.Error("a function with less than 0.3 % is listed")
	}
	if err := writeProfile(&out, profiled{method: "POST", version: "HTTP/1.1"}, "nothing"); err == nil {
		t.Error("an empty profile is no error")
	}
}

func TestAProfileIsDividedByCaller(t *testing.T) {
	const traces = `File: edge
Type: cpu
Duration: 10s, Total samples = 1000ms (10%)
-----------+-------------------------------------------------------
     400ms   internal/runtime/syscall/linux.Syscall6
             syscall.RawSyscall6
             syscall.write (inline)
             syscall.Write
             github.com/theworklabs/edge/internal/upstreamconn.(*call).send
             github.com/theworklabs/edge/modules/proxy.(*exchange).send
             net/http.(*conn).serve
-----------+-------------------------------------------------------
     300ms   internal/runtime/syscall/linux.Syscall6
             syscall.read
             net.(*conn).Read
             net/http.(*connReader).Read
             net/http.(*conn).serve
-----------+-------------------------------------------------------
     100ms   runtime.mallocgcTiny
             github.com/caddyserver/caddy/v2.(*Replacer).Set
             net/http.(*conn).serve
-----------+-------------------------------------------------------
     100ms   runtime.futex
             runtime.findRunnable
             runtime.mcall
-----------+-------------------------------------------------------
      50ms   runtime.scanobject
             runtime.gcBgMarkWorker
-----------+-------------------------------------------------------
      50ms   github.com/prometheus/client_golang/prometheus.(*counter).Inc
             github.com/theworklabs/edge/internal/traffic.(*Service).Add
             net/http.(*conn).serve
`
	var out strings.Builder
	if err := writeCallers(&out, traces); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| the edge: the connection to the container | 40.0 % |  |  |  | 40.0 % |", "| Go's HTTP server | 30.0 % |  |  |  | 30.0 % |", "| Caddy |  | 10.0 % |  |  | 10.0 % |",
		"| the edge: figures |  |  |  | 5.0 % | 5.0 % |", "| Go: garbage collection in the background |  | 5.0 % |  |  | 5.0 % |", "| Go: the scheduler, without a request | 10.0 % |  |  |  | 10.0 % |",
		"| `syscall.write` | the container | 40.0 % |", "| `syscall.read` | the client | 30.0 % |", "| `runtime.futex` | the scheduler | 10.0 % |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if err := writeCallers(&out, "nothing"); err == nil {
		t.Error("an empty profile is no error")
	}
}

func TestProfiledLoads(t *testing.T) {
	for text, want := range map[string]profiled{
		"HTTP/1.1":                     {method: "GET", version: "HTTP/1.1"},
		"HTTP/1.1 with TLS":            {method: "GET", version: "HTTP/1.1 with TLS"},
		"POST HTTP/1.1 with TLS":       {method: "POST", version: "HTTP/1.1 with TLS"},
		"POST HTTP/3":                  {method: "POST", version: "HTTP/3"},
		"HTTP/1.1 with an access log":  {method: "GET", version: "HTTP/1.1", variant: withLog},
		"POST HTTP/1.1 with reuse all": {method: "POST", version: "HTTP/1.1", variant: withReuse},
	} {
		if got, err := parseProfiled(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"HTTP/4", "PUT HTTP/1.1", "HTTP/2 with an access log", ""} {
		if got, err := parseProfiled(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}
