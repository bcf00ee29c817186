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

// tunnelSet is many tunnels of one group, over net.Pipe connections, which use the clock of synctest. Its clients record
// when they get a close frame, and close.
type tunnelSet struct {
	*testing.T
	group *tunnel.Group

	startedAt   time.Time
	mu          sync.Mutex
	closeTimes  []time.Duration
	remoteConns []net.Conn
	readers     sync.WaitGroup
}

func newTunnelSet(t *testing.T, group *tunnel.Group, size int) *tunnelSet {
	c := &tunnelSet{T: t, group: group, startedAt: time.Now()}
	for range size {
		c.add()
	}
	t.Cleanup(func() {
		for _, conn := range c.remoteConns {
			conn.Close()
		}
		c.readers.Wait()
		if err := c.group.Wait(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// add opens another tunnel.
func (c *tunnelSet) add() {
	var config tunnel.Config
	var client, endpoint net.Conn
	client, config.Client = net.Pipe()
	endpoint, config.Endpoint = net.Pipe()
	config.WebSocket = true
	c.remoteConns = append(c.remoteConns, client, endpoint)
	c.group.Open(config)
	c.readers.Go(func() { _, _ = io.Copy(io.Discard, endpoint) })
	c.readers.Go(func() {
		got := make([]byte, len(goingAwayFrame))
		if _, err := io.ReadFull(client, got); err != nil || string(got) != goingAwayFrame {
			return
		}
		c.mu.Lock()
		c.closeTimes = append(c.closeTimes, time.Since(c.startedAt))
		c.mu.Unlock()
		client.Close()
	})
}

// closedCount returns how many clients have got a close frame.
func (c *tunnelSet) closedCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.closeTimes)
}

const histogramBins = 5

// logHistogram logs how many of the times are in each bin of the window.
func logHistogram(t *testing.T, times []time.Duration, window time.Duration) (histogram [histogramBins]int) {
	t.Helper()
	for _, at := range times {
		histogram[min(histogramBins-1, int(at*histogramBins/window))]++
	}
	for i, n := range histogram {
		t.Logf("%6s %4d %s", window*time.Duration(i)/histogramBins, n, strings.Repeat("#", n*100/len(times)))
	}
	return histogram
}

// expectEvenSpread checks that the times cover the window evenly: each bin has at least half of its share.
func expectEvenSpread(t *testing.T, times []time.Duration, window time.Duration) {
	t.Helper()
	for i, n := range logHistogram(t, times, window) {
		if n < len(times)/histogramBins/2 {
			t.Errorf("in the bin from %s only %d of %d were closed", window*time.Duration(i)/histogramBins, n, len(times))
		}
	}
}

func TestDrainIsSpreadOverItsWindow(t *testing.T) {
	for _, size := range []int{20, 500, 5000} {
		synctest.Test(t, func(t *testing.T) {
			c := newTunnelSet(t, tunnel.NewGroup(nil), size)
			c.group.Drain(5*time.Second, "drain")
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if n := c.closedCount(); n != size {
				t.Fatalf("%d of %d were closed within the window", n, size)
			}
			expectEvenSpread(t, c.closeTimes, 5*time.Second)
			instants := make(map[time.Duration]bool)
			for _, at := range c.closeTimes {
				instants[at] = true
			}
			if len(instants) < size*9/10 {
				t.Errorf("%d were closed at %d different times", size, len(instants))
			}
		})
	}
}

// TestATunnelThatEndsAtOnceHasItsOwnShare: a tunnel may end before the drain has told both of its directions. It must not look
// as if it had ended earlier, or the next one would be closed in the same instant.
func TestATunnelThatEndsAtOnceHasItsOwnShare(t *testing.T) {
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			c := newTunnelSet(t, tunnel.NewGroup(nil), 20)
			c.group.Drain(5*time.Second, "drain")
			time.Sleep(5 * time.Second)
			synctest.Wait()
			instants := make(map[time.Duration]bool)
			for _, at := range c.closeTimes {
				instants[at] = true
			}
			if len(instants) != 20 {
				t.Errorf("20 were closed at %d different times: %v", len(instants), c.closeTimes)
			}
		})
	}
}

func TestTunnelOpenedWhileDrainingIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTunnelSet(t, tunnel.NewGroup(nil), 0)
		c.group.Drain(5*time.Second, "drain")
		for range 4 {
			time.Sleep(time.Second)
			for range 10 {
				c.add()
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := c.closedCount(); n != 40 {
			t.Errorf("%d of 40 were closed within the window", n)
		}
		time.Sleep(time.Hour)
		c.add() // the application sent its 101 late
		synctest.Wait()
		if n := c.closedCount(); n != 41 {
			t.Error("a tunnel that was opened after the window was not closed at once")
		}
	})
}

func TestResumeKeepsTheRemainingTunnels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTunnelSet(t, tunnel.NewGroup(nil), 100)
		c.group.Drain(10*time.Second, "drain")
		time.Sleep(5 * time.Second)
		c.group.Resume()
		synctest.Wait()
		closed := c.closedCount()
		if closed < 45 || closed > 55 {
			t.Errorf("%d of 100 were closed in half the time", closed)
		}
		c.add()
		time.Sleep(time.Hour)
		if n := c.closedCount(); n != closed {
			t.Errorf("%d more were closed after Resume", n-closed)
		}
		if n := c.group.Len(); n != 101-closed {
			t.Errorf("%d are open, want the other %d", n, 101-closed)
		}
		c.group.Drain(time.Second, "drain")
		time.Sleep(time.Second)
		synctest.Wait()
		if n := c.closedCount(); n != 101 {
			t.Errorf("%d of 101 were closed after the second drain", n)
		}
	})
}

func TestDrainReplacesAnEarlierDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTunnelSet(t, tunnel.NewGroup(nil), 100)
		c.group.Drain(time.Hour, "drain")
		c.group.Drain(time.Second, "exit")
		time.Sleep(time.Second)
		synctest.Wait()
		if n := c.closedCount(); n != 100 {
			t.Errorf("%d of 100 were closed", n)
		}
	})
}

func TestDrainCoversSubgroupsButNotSiblings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		process := tunnel.NewGroup(nil)
		a, b := newTunnelSet(t, tunnel.NewGroup(process), 10), newTunnelSet(t, tunnel.NewGroup(process), 10)
		if n := process.Len(); n != 20 {
			t.Errorf("%d are open, want 20", n)
		}
		a.group.Drain(0, "drain")
		synctest.Wait()
		if a.closedCount() != 10 || b.closedCount() != 0 {
			t.Errorf("%d of the group and %d of its sibling were closed", a.closedCount(), b.closedCount())
		}
		process.Drain(4*time.Second, "exit")
		b.add()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if b.closedCount() != 11 {
			t.Errorf("%d of 11 were closed when the process stopped", b.closedCount())
		}
	})
}

func TestDrainOfClosedTunnelsLeavesNoGoroutine(t *testing.T) {
	s := openTunnel(t)
	s.group.Drain(time.Hour, "drain")
	s.client.Close()
	s.endpoint.Close()
	s.waitClosed("", "")
	s.expectNoGoroutines()
	s.group.Drain(time.Hour, "drain")
	s.expectNoGoroutines()
}

func TestWaitReturnsAfterTheLastReport(t *testing.T) {
	reported := make(chan struct{})
	finish := make(chan struct{})
	s := openTunnel(t, func(c *tunnel.Config) {
		c.OnClose = func(tunnel.Report) { close(reported); <-finish }
	})
	s.client.Close()
	s.endpoint.Close()
	<-reported
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.group.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v before OnClose returned", err)
	}
	close(finish)
	if err := s.group.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if n := s.group.Len(); n != 0 {
		t.Errorf("%d are open", n)
	}
}

func TestCloseExistingKeepsLaterTunnels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTunnelSet(t, tunnel.NewGroup(nil), 100)
		c.group.CloseExisting(5*time.Second, "maintenance")
		time.Sleep(time.Second)
		for range 10 {
			c.add()
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if n := c.closedCount(); n != 100 {
			t.Errorf("%d were closed within the window, want the 100 that were open", n)
		}
		expectEvenSpread(t, c.closeTimes, 5*time.Second)
		time.Sleep(time.Hour)
		if n := c.closedCount(); n != 100 {
			t.Errorf("%d of the later tunnels were closed", n-100)
		}
		c.group.CloseExisting(0, "maintenance")
		c.group.CloseExisting(0, "maintenance")
		synctest.Wait()
		if n := c.closedCount(); n != 110 {
			t.Errorf("%d were closed, want all 110", n)
		}
	})
}
