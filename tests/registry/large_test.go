package registry

import (
	cryptorand "crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/theworklabs/edge/tests/harness"
)

// TestALargeLayer pushes and pulls a layer of EDGE_TEST_GIGABYTES GB through the edge with TLS. It measures how long that takes, and how much memory the edge needs.
func TestALargeLayer(t *testing.T) {
	size := largeSize(t)
	if size == 0 {
		t.Skip("EDGE_TEST_GIGABYTES says how large; make test-delivery runs it with 1")
	}
	layer := func() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{1}), size) } // the same each time
	hash := sha256.New()
	if _, err := io.Copy(hash, layer()); err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.NewDigest(digest.SHA256, hash), Size: size}

	memory := watchMemory(t)
	began := time.Now()
	if err := stack.repository(t, "shop/large", "push").Blobs().Push(t.Context(), d, layer()); err != nil {
		t.Fatal(err)
	}
	pushed := time.Since(began)
	began = time.Now()
	content, err := stack.repository(t, "shop/large", "pull").Blobs().Fetch(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	hash.Reset()
	if n, err := io.Copy(hash, content); err != nil || n != size {
		t.Fatalf("pulled %d of %d bytes: %v", n, size, err)
	}
	if got := digest.NewDigest(digest.SHA256, hash); got != d.Digest {
		t.Errorf("pulled %s, want %s", got, d.Digest)
	}
	before, most := memory()
	t.Logf("%.1f GB: pushed in %.1f s, pulled in %.1f s; the edge had %d MB before and at most %d MB", float64(size)/1e9, pushed.Seconds(), time.Since(began).Seconds(), before>>20, most>>20)
	if most > 256<<20 {
		t.Errorf("the edge needed %d MB: it has kept the layer", most>>20)
	}
}

// largeSize returns the size of a large layer, by EDGE_TEST_GIGABYTES; 0 if that is not set.
func largeSize(t *testing.T) int64 {
	t.Helper()
	value := os.Getenv("EDGE_TEST_GIGABYTES")
	if value == "" {
		return 0
	}
	gigabytes, err := strconv.ParseFloat(value, 64)
	if err != nil || gigabytes <= 0 {
		t.Fatalf("EDGE_TEST_GIGABYTES=%s: want a number of gigabytes", value)
	}
	return int64(gigabytes * 1e9)
}

// watchMemory looks at the memory of the edge ten times a second, until the end of the test or a call of the function that it returns. That
// function returns the first and the largest size, in bytes.
func watchMemory(t *testing.T) func() (before, most int64) {
	t.Helper()
	id, err := stack.Container(t.Context(), "edge")
	if err != nil {
		t.Fatal(err)
	}
	file := "/proc/" + strings.TrimSpace(harness.MustDocker(t, "inspect", "--format", "{{.State.Pid}}", id)) + "/statm"
	read := func() (int64, error) {
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		var all, resident int64
		_, err = fmt.Sscan(string(text), &all, &resident)
		return resident * int64(os.Getpagesize()), err
	}
	first, err := read()
	if err != nil {
		t.Fatal(err)
	}
	var failure error
	most, stop, done := first, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				size, err := read()
				most, failure = max(most, size), errors.Join(failure, err)
			}
		}
	}()
	end := sync.OnceFunc(func() {
		close(stop)
		<-done
	})
	t.Cleanup(end)
	return func() (int64, int64) {
		end()
		if failure != nil {
			t.Error(failure)
		}
		return first, most
	}
}

func randomBytes(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	_, _ = cryptorand.Read(b) // it never returns an error
	return b
}
