package discovery_test

import (
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/theworklabs/edge/internal/discovery"
)

// TestTheSubnetsStayWithoutDescriptors: else, an edge that has run out of them takes all containers for unreachable, and breaks their connections.
func TestTheSubnetsStayWithoutDescriptors(t *testing.T) {
	want := discovery.LocalSubnets()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 64
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	var files []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		files = append(files, f)
	}
	got := discovery.LocalSubnets()
	for _, f := range files {
		_ = f.Close()
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("without descriptors, the subnets are %v, want %v", got, want)
	}
}
