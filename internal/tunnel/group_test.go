package tunnel_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/tunnel"
)

// crowd is many tunnels of one group, over connections that know the time of synctest. Its clients note when they are
// told to go, and go.
type crowd struct {
	*testing.T
	group *tunnel.Group

	began time.Time
	mu    sync.Mutex
	told  []time.Duration
	far   []net.Conn
	gone  sync.WaitGroup
}

func newCrowd(t *testing.T, group *tunnel.Group, size int) *crowd {
	c := &crowd{T: t, group: group, began: time.Now()}
	for range size {
		c.join()
	}
	t.Cleanup(func() {
		for _, conn := range c.far {
			conn.Close()
		}
		c.gone.Wait()
		if err := c.group.Wait(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// join opens a tunnel more.
func (c *crowd) join() {
	var ends tunnel.Ends
	var client, endpoint net.Conn
	client, ends.Client = net.Pipe()
	endpoint, ends.Endpoint = net.Pipe()
	ends.WebSocket = true
	c.far = append(c.far, client, endpoint)
	c.group.Open(ends)
	c.gone.Go(func() { _, _ = io.Copy(io.Discard, endpoint) })
	c.gone.Go(func() {
		got := make([]byte, len(goingAway))
		if _, err := io.ReadFull(client, got); err != nil || string(got) != goingAway {
			return
		}
		c.mu.Lock()
		c.told = append(c.told, time.Since(c.began))
		c.mu.Unlock()
		client.Close()
	})
}

// count returns how many were told.
func (c *crowd) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.told)
}

const parts = 5

// chart logs how many of the times are in each part of the window.
func chart(t *testing.T, told []time.Duration, window time.Duration) (histogram [parts]int) {
	t.Helper()
	for _, at := range told {
		histogram[min(parts-1, int(at*parts/window))]++
	}
	for i, n := range histogram {
		t.Logf("%6s %4d %s", window*time.Duration(i)/parts, n, strings.Repeat("#", n*100/len(told)))
	}
	return histogram
}

// spread fails unless the times cover the window evenly: each part has at least half of its share.
func spread(t *testing.T, told []time.Duration, window time.Duration) {
	t.Helper()
	for i, n := range chart(t, told, window) {
		if n < len(told)/parts/2 {
			t.Errorf("from %s on only %d of %d were closed", window*time.Duration(i)/parts, n, len(told))
		}
	}
}

func TestADrainIsSpreadOverItsWindow(t *testing.T) {
	for _, size := range []int{20, 500, 5000} {
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, tunnel.NewGroup(nil), size)
			c.group.Drain(5*time.Second, "drain")
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if n := c.count(); n != size {
				t.Fatalf("%d of %d were told within the window", n, size)
			}
			spread(t, c.told, 5*time.Second)
			instants := make(map[time.Duration]bool)
			for _, at := range c.told {
				instants[at] = true
			}
			if len(instants) < size*9/10 {
				t.Errorf("%d were told at %d instants", size, len(instants))
			}
		})
	}
}

func TestATunnelThatIsOpenedWhileDrainingIsClosedWithinTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, tunnel.NewGroup(nil), 0)
		c.group.Drain(5*time.Second, "drain")
		for range 4 {
			time.Sleep(time.Second)
			for range 10 {
				c.join()
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := c.count(); n != 40 {
			t.Errorf("%d of 40 were told within the window", n)
		}
		time.Sleep(time.Hour)
		c.join() // its 101 came late
		synctest.Wait()
		if n := c.count(); n != 41 {
			t.Error("a tunnel that was opened after the window was not closed at once")
		}
	})
}

func TestAfterResumeTheRestStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, tunnel.NewGroup(nil), 100)
		c.group.Drain(10*time.Second, "drain")
		time.Sleep(5 * time.Second)
		c.group.Resume()
		synctest.Wait()
		told := c.count()
		if told < 45 || told > 55 {
			t.Errorf("%d of 100 were told in half the time", told)
		}
		c.join()
		time.Sleep(time.Hour)
		if n := c.count(); n != told {
			t.Errorf("%d more were told after that", n-told)
		}
		if n := c.group.Len(); n != 101-told {
			t.Errorf("%d are open, want the other %d", n, 101-told)
		}
		c.group.Drain(time.Second, "drain")
		time.Sleep(time.Second)
		synctest.Wait()
		if n := c.count(); n != 101 {
			t.Errorf("%d of 101 were told by the second drain", n)
		}
	})
}

func TestADrainReplacesTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, tunnel.NewGroup(nil), 100)
		c.group.Drain(time.Hour, "drain")
		c.group.Drain(time.Second, "exit")
		time.Sleep(time.Second)
		synctest.Wait()
		if n := c.count(); n != 100 {
			t.Errorf("%d of 100 were told", n)
		}
	})
}

func TestAGroupIsClosedWithItsParentAndNotTheOtherWayRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		process := tunnel.NewGroup(nil)
		a, b := newCrowd(t, tunnel.NewGroup(process), 10), newCrowd(t, tunnel.NewGroup(process), 10)
		if n := process.Len(); n != 20 {
			t.Errorf("%d are open, want 20", n)
		}
		a.group.Drain(0, "drain")
		synctest.Wait()
		if a.count() != 10 || b.count() != 0 {
			t.Errorf("%d of the group and %d of another one were told", a.count(), b.count())
		}
		process.Drain(4*time.Second, "exit")
		b.join()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if b.count() != 11 {
			t.Errorf("%d of 11 were told when the process stopped", b.count())
		}
	})
}

func TestADrainOfWhatHasGoneLeavesNoGoroutine(t *testing.T) {
	s := open(t)
	s.group.Drain(time.Hour, "drain")
	s.client.Close()
	s.endpoint.Close()
	s.over("", "")
	s.noneLeft()
	s.group.Drain(time.Hour, "drain")
	s.noneLeft()
}

func TestWaitEndsWithTheLastReport(t *testing.T) {
	reported := make(chan struct{})
	finish := make(chan struct{})
	s := open(t, func(e *tunnel.Ends) {
		e.Ended = func(tunnel.Report) { close(reported); <-finish }
	})
	s.client.Close()
	s.endpoint.Close()
	<-reported
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.group.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v before the report was taken", err)
	}
	close(finish)
	if err := s.group.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if n := s.group.Len(); n != 0 {
		t.Errorf("%d are open", n)
	}
}

func TestWhatIsOpenIsShedAndWhatComesLaterStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, tunnel.NewGroup(nil), 100)
		c.group.Shed(5*time.Second, "maintenance")
		time.Sleep(time.Second)
		for range 10 {
			c.join()
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if n := c.count(); n != 100 {
			t.Errorf("%d were told within the window, want the 100 that were open", n)
		}
		spread(t, c.told, 5*time.Second)
		time.Sleep(time.Hour)
		if n := c.count(); n != 100 {
			t.Errorf("%d of those that came later were told", n-100)
		}
		c.group.Shed(0, "maintenance")
		c.group.Shed(0, "maintenance")
		synctest.Wait()
		if n := c.count(); n != 110 {
			t.Errorf("%d were told, want all 110", n)
		}
	})
}
