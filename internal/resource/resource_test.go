package resource_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/theworklabs/edge/internal/resource"
)

func TestExhaustedRecognizesLocalLimits(t *testing.T) {
	for errno, want := range map[syscall.Errno]resource.Kind{
		syscall.EMFILE: resource.Descriptors, syscall.ENFILE: resource.Descriptors, syscall.EADDRNOTAVAIL: resource.Ports,
		syscall.ENOBUFS: resource.Memory, syscall.ENOMEM: resource.Memory,
	} {
		err := fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", errno)})
		if kind, ok := resource.Exhausted(err); !ok || kind != want {
			t.Errorf("%v: got %q, %t, want %q", errno, kind, ok, want)
		}
	}
}

func TestExhaustedIgnoresRemoteErrors(t *testing.T) {
	for _, err := range []error{nil, io.EOF, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH, os.ErrDeadlineExceeded} {
		if kind, ok := resource.Exhausted(err); ok {
			t.Errorf("%v: got %q, want no resource", err, kind)
		}
	}
}

func TestMachineWithoutIPv6HasNotRunOutOfPorts(t *testing.T) {
	for address, want := range map[string]bool{"192.0.2.1": true, "2001:db8::1": false} {
		err := &net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.ParseIP(address), Port: 80}, Err: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)}
		if _, ok := resource.Exhausted(err); ok != want {
			t.Errorf("%s: got %t, want %t", address, ok, want)
		}
	}
}

func TestEveryKindHasAHint(t *testing.T) {
	seen := make(map[string]resource.Kind)
	for _, kind := range resource.Kinds {
		hint := kind.Hint()
		if other, isRepeated := seen[hint]; isRepeated || hint == "" {
			t.Errorf("%s and %s have the hint %q", kind, other, hint)
		}
		seen[hint] = kind
	}
}
