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
	if err := writeProfile(&out, profiled{"POST", "HTTP/1.1"}, top); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"POST 1 KB over HTTP/1.1, 64 connections: 1.0 s of processor time in 10 s",
		"| the kernel: system calls | 50.0 % |",
		"| Go's allocation and garbage collection | 20.0 % |",
		"| Go's scheduler and runtime | 0.1 % |",
		"| the edge | 15.0 % |",
		"| other packages | 14.9 % |",
		"| `syscall.write` | 30.0 % |",
		"| `syscall.Close` | 20.0 % |",
		"| the edge | `github.com/theworklabs/edge/modules/proxy.(*direct).respond` | 15.0 % |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "RawSyscall") || strings.Contains(out.String(), "syscall.Write") {
		t.Error("a function that calls a system call's function is listed as one")
	}
	if strings.Contains(out.String(), "gopark") {
		t.Error("a function with less than 0.3 % is listed")
	}
	if err := writeProfile(&out, profiled{"POST", "HTTP/1.1"}, "nothing"); err == nil {
		t.Error("an empty profile is no error")
	}
}
