package ratelimit

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestCountsGoToAnotherLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rate := Rate{Events: 6, Window: time.Minute, Burst: 3}
		from, to := New(100), New(100)
		use := func(l *Limiter, key string, n int) (last Decision) {
			for range n {
				last = l.Take(stringKey(l, key), rate)
			}
			return last
		}
		use(from, "exhausted", 3)
		use(from, "begun", 1)
		use(to, "own", 3) // it is forgotten with the secret
		time.Sleep(time.Second)
		if err := to.Import(from.Export()); err != nil {
			t.Fatal(err)
		}
		if d := use(to, "exhausted", 1); d.Allowed || d.RetryAfter != 9*time.Second {
			t.Errorf("an exhausted key: %+v", d)
		}
		if d := use(to, "begun", 1); !d.Allowed || d.Remaining != 1 {
			t.Errorf("a key with one request: %+v", d)
		}
		if d := use(to, "own", 1); d.Remaining != 2 {
			t.Errorf("a key of its own: %+v", d)
		}
		// Again, for what has come since. Nobody gets tokens back.
		use(from, "late", 3)
		if err := to.Import(from.Export()); err != nil {
			t.Fatal(err)
		}
		if d := use(to, "late", 1); d.Allowed {
			t.Errorf("a key that was exhausted later: %+v", d)
		}
		if d := use(to, "begun", 1); d.Remaining != 0 {
			t.Errorf("a key that both have counted: %+v", d)
		}
		time.Sleep(time.Hour)
		if got := len(to.Export().Buckets); got != 0 {
			t.Errorf("%d full buckets are exported", got)
		}
		if to.Import(Counts{}) == nil {
			t.Error("counts without a secret are no error")
		}
	})
}
