package timeline

import (
	"fmt"
	"sync"
	"testing"
)

func TestTheLastEventsAreKept(t *testing.T) {
	var line Timeline
	if got := line.Since(0); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	for i := range 2*Length + 7 {
		line.Add(Event{Text: fmt.Sprint(i + 1)})
	}
	all := line.Since(0)
	if len(all) != Length {
		t.Fatalf("%d events are kept", len(all))
	}
	for i, e := range all {
		if want := uint64(Length + 7 + i + 1); e.Number != want || e.Text != fmt.Sprint(want) || e.Time.IsZero() {
			t.Fatalf("event %d is %+v, want number %d", i, e, want)
		}
	}
	if got := line.Since(2*Length + 5); len(got) != 2 || got[1].Number != 2*Length+7 {
		t.Errorf("got %v", got)
	}
	if got := line.Since(5000); len(got) != 0 {
		t.Errorf("after the last event: %v", got)
	}
}

// TestWatchersAreNotifiedOnce of several events, and a slow one holds up nothing.
func TestWatchersAreNotifiedOnce(t *testing.T) {
	var line Timeline
	changed, stop := line.Watch()
	var adding sync.WaitGroup
	for range 10 {
		adding.Go(func() { line.Add(Event{Text: "x"}) })
	}
	adding.Wait()
	<-changed
	select {
	case <-changed:
		t.Error("it was notified twice")
	default:
	}
	stop()
	line.Add(Event{Text: "y"})
	select {
	case <-changed:
		t.Error("it was notified after it had stopped")
	default:
	}
}
