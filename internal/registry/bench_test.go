package registry_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// newBenchRegistry returns a registry with services of ten endpoints each.
func newBenchRegistry(b *testing.B, services int, slowStart time.Duration) (*registry.Registry, []*registry.Service, [][]registry.Member) {
	b.Helper()
	r := registry.New(registry.Options{})
	b.Cleanup(r.Close)
	engine := r.Feed(registry.Engine)
	all := make([]*registry.Service, services)
	members := make([][]registry.Member, services)
	for i := range services {
		for j := range 10 {
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(j + 1)})
			members[i] = append(members[i], registry.Member{ID: fmt.Sprintf("c%d-%d", i, j), Addr: addr, Phase: registry.Running})
		}
		s, err := r.Declare(fmt.Sprintf("s%d:80", i))
		if err != nil {
			b.Fatal(err)
		}
		s.Configure(registry.Settings{SlowStart: slowStart})
		all[i] = s
		engine.Set(fmt.Sprintf("s%d", i), members[i])
	}
	engine.SetOnline(true)
	return r, all, members
}

// BenchmarkAcquire measures one claim and its release. The cost does not depend on the number of services and endpoints; during
// slow start, it contains a reading of the clock.
func BenchmarkAcquire(b *testing.B) {
	for _, c := range []struct {
		name      string
		services  int
		slowStart time.Duration
	}{{"endpoints=10", 1, -1}, {"endpoints=10000", 1000, -1}, {"endpoints=100000", 10_000, -1}, {"slow start", 1, time.Hour}} {
		b.Run(c.name, func(b *testing.B) {
			_, all, _ := newBenchRegistry(b, c.services, c.slowStart)
			s := all[c.services/2]
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				claim, err := s.Acquire(ctx, registry.PickOptions{})
				if err != nil {
					b.Fatal(err)
				}
				claim.Release()
			}
		})
	}
}

// BenchmarkAcquireDuringChanges measures claims while another goroutine changes services without a pause: other services, or the one of the claims.
// It reports the longest claim, and how many of a million took longer than a millisecond. Both include the time for which another goroutine or process
// had the processor, so that a goroutine which only does as much work, and changes nothing, is there to compare with.
func BenchmarkAcquireDuringChanges(b *testing.B) {
	for _, c := range []struct {
		name    string
		changed func(i int) int // nil: a feed of another registry
	}{{"others", func(i int) int { return i % 5000 }}, {"the same", func(int) int { return 5000 }}, {"nothing", nil}} {
		b.Run(c.name, func(b *testing.B) {
			r, all, members := newBenchRegistry(b, 10_000, -1)
			s, ctx := all[5000], b.Context()
			stop, stopped := make(chan struct{}), make(chan int)
			changed, changing := c.changed, r
			if changed == nil {
				changing, _, _ = newBenchRegistry(b, 10_000, -1)
				changed = func(i int) int { return i % 5000 }
			}
			go func() {
				engine := changing.Feed(registry.Engine)
				for i := 0; ; i++ {
					select {
					case <-stop:
						stopped <- i
						return
					default:
					}
					n := changed(i)
					name := fmt.Sprintf("s%d", n)
					engine.Set(name, members[n][:9])
					engine.Set(name, members[n])
				}
			}()
			var longest time.Duration
			long := 0
			for b.Loop() {
				start := time.Now()
				claim, err := s.Acquire(ctx, registry.PickOptions{})
				if err != nil {
					b.Fatal(err)
				}
				claim.Release()
				took := time.Since(start)
				longest = max(longest, took)
				if took > time.Millisecond {
					long++
				}
			}
			close(stop)
			b.ReportMetric(float64(<-stopped)/b.Elapsed().Seconds(), "changes/s")
			b.ReportMetric(float64(longest.Microseconds()), "longest-µs")
			b.ReportMetric(float64(long)/float64(b.N)*1e6, "over-1ms/million")
		})
	}
}

// BenchmarkUpdate measures the removal and the return of a container. The cost does not depend on the number of services.
func BenchmarkUpdate(b *testing.B) {
	for _, services := range []int{1, 1000, 10_000} {
		b.Run(fmt.Sprintf("endpoints=%d", services*10), func(b *testing.B) {
			r, _, members := newBenchRegistry(b, services, -1)
			engine := r.Feed(registry.Engine)
			i := services / 2
			name := fmt.Sprintf("s%d", i)
			fewer := members[i][:9]
			b.ReportAllocs()
			for b.Loop() {
				engine.Set(name, fewer)
				engine.Set(name, members[i])
			}
		})
	}
}
