package ratelimit

import (
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func stringKey(l *Limiter, s string) uint64 { return maphash.String(l.Seed(), s) }

func TestBurstIsAllowedThenRateApplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, rate := New(100), Rate{Events: 6, Window: time.Minute, Burst: 3}
		for want := 2; want >= 0; want-- {
			if d := l.Take(stringKey(l, "a"), rate); !d.Allowed || d.Remaining != want {
				t.Fatalf("with a full bucket: %+v, want %d remaining", d, want)
			}
		}
		if d := l.Take(stringKey(l, "a"), rate); d.Allowed || d.RetryAfter != 10*time.Second {
			t.Fatalf("with an empty bucket: %+v, want to try again after 10s", d)
		}
		if d := l.Take(stringKey(l, "b"), rate); !d.Allowed {
			t.Fatal("another key is limited with it")
		}
		time.Sleep(10*time.Second - time.Nanosecond)
		if d := l.Take(stringKey(l, "a"), rate); d.Allowed || d.RetryAfter != 1 {
			t.Fatalf("a nanosecond too early: %+v", d)
		}
		time.Sleep(time.Nanosecond)
		if d := l.Take(stringKey(l, "a"), rate); !d.Allowed || d.RetryAfter != 10*time.Second {
			t.Fatalf("a token later: %+v, want it allowed, and the next after 10s", d)
		}
		time.Sleep(time.Hour)
		if d := l.Take(stringKey(l, "a"), rate); d.Remaining != 2 {
			t.Errorf("after an hour %d remain, want no more than the burst", d.Remaining)
		}
	})
}

func TestRefusedRequestsTakeNoTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, rate := New(100), Rate{Events: 1, Window: time.Minute, Burst: 1}
		l.Take(1, rate)
		for range 1000 {
			if l.Take(1, rate).Allowed {
				t.Fatal("allowed")
			}
		}
		time.Sleep(time.Minute)
		if !l.Take(1, rate).Allowed {
			t.Error("those who try in vain wait longer")
		}
	})
}

func TestFasterRateShortensTheWaitOfLimitedKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(100)
		l.Take(1, Rate{Events: 1, Window: 24 * time.Hour, Burst: 1})
		if d := l.Take(1, Rate{Events: 60, Window: time.Minute, Burst: 1}); d.Allowed || d.RetryAfter > time.Second {
			t.Errorf("after the rate became one a second: %+v", d)
		}
	})
}

// TestLimiterMatchesReferenceTokenBucket compares it with the plain way, step by step, for random rates and times.
func TestLimiterMatchesReferenceTokenBucket(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		// Whole tokens at whole times, so that the plain way is exact.
		rate := Rate{Events: 1 + random.IntN(5), Burst: 1 + random.IntN(10)}
		interval := time.Duration(1 + random.IntN(1000))
		rate.Window = interval * time.Duration(rate.Events)
		clock := time.Unix(0, 0)
		l := newLimiter(10, func() time.Time { return clock })
		var debt time.Duration // tokens that are missing, in time
		for step := range 300 {
			wait := time.Duration(random.IntN(int(3 * interval)))
			clock = clock.Add(wait)
			debt = max(0, debt-wait)
			allowed := debt+interval <= interval*time.Duration(rate.Burst)
			if allowed {
				debt += interval
			}
			if got := l.Take(7, rate); got.Allowed != allowed {
				t.Fatalf("%+v, step %d: allowed is %t, want %t", rate, step, got.Allowed, allowed)
			}
		}
	}
}

// TestConcurrentRequestsGetExactlyTheBurst: of many who ask at once, exactly the burst is let through.
func TestConcurrentRequestsGetExactlyTheBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, rate := New(1000), Rate{Events: 1, Window: time.Hour, Burst: 500}
		const keys = 20
		var allowed [keys]atomic.Int64
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				for range 1000 {
					for k := range uint64(keys) {
						if l.Take(k, rate).Allowed {
							allowed[k].Add(1)
						}
					}
				}
			})
		}
		all.Wait()
		for k := range allowed {
			if n := allowed[k].Load(); n != 500 {
				t.Errorf("key %d was let through %d times, want 500", k, n)
			}
		}
	})
}

// TestFloodOfKeysDoesNotResetLimitedKey: a limited client stays limited while a million others come once.
func TestFloodOfKeysDoesNotResetLimitedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, rate := New(1000), Rate{Events: 1, Window: time.Hour, Burst: 10}
		for range 10 {
			l.Take(stringKey(l, "limited"), rate)
		}
		for k := range 1_000_000 {
			l.Take(uint64(k)*0x9e3779b97f4a7c15, rate)
			if k%1000 == 0 && l.Take(stringKey(l, "limited"), rate).Allowed {
				t.Fatalf("allowed after %d other keys", k)
			}
		}
		if n, places := l.CountKeys(), len(l.rows)*len(row{}); n > places || places > 8*1000 {
			t.Errorf("%d keys are kept, and there are %d places", n, places)
		}
	})
}

func TestKeysAreForgottenWhenTheirBucketIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, rate := New(1000), Rate{Events: 60, Window: time.Minute, Burst: 10}
		for k := range uint64(100) {
			l.Take(k, rate)
		}
		if n := l.CountKeys(); n != 100 {
			t.Errorf("%d keys, want 100", n)
		}
		time.Sleep(time.Second)
		if n := l.CountKeys(); n != 0 {
			t.Errorf("%d keys a second later, want none", n)
		}
	})
}

func TestInvalidRatesAreRejected(t *testing.T) {
	for _, r := range []Rate{
		{Events: 0, Window: time.Second, Burst: 1},
		{Events: 1, Window: time.Second, Burst: 0},
		{Events: 10, Window: 9, Burst: 1},
		{Events: 1, Window: 24 * time.Hour, Burst: 1 << 30},
	} {
		if r.Validate() == nil {
			t.Errorf("%+v is taken", r)
		}
	}
	if err := (Rate{Events: 1, Window: time.Second, Burst: 1}).Validate(); err != nil {
		t.Error(err)
	}
}

// TestMillionKeysEachGetTheirBurst: each key is asked about as often as twice its burst, by several at once. None is refused
// before it has had its burst, and hardly any gets more: those that share a full row.
func TestMillionKeysEachGetTheirBurst(t *testing.T) {
	keys, rate := uint64(million), Rate{Events: 1, Window: time.Hour, Burst: 3}
	if testing.Short() {
		keys /= 10
	}
	l := New(int(keys))
	allowed := make([]atomic.Int32, keys)
	var uncounted atomic.Uint64
	began := time.Now()
	var all sync.WaitGroup
	for worker := range uint64(4) {
		all.Go(func() {
			for n := range 2 * uint64(rate.Burst) * keys / 4 {
				i := (n + worker*keys/4) % keys
				d := l.Take(intKey(l, i), rate)
				if d.Allowed {
					allowed[i].Add(1)
				}
				if d.Uncounted {
					uncounted.Add(1)
				}
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	var fewer, exact, more uint64
	for i := range allowed {
		switch n := allowed[i].Load(); {
		case n < int32(rate.Burst):
			fewer++
		case n == int32(rate.Burst):
			exact++
		default:
			more++
		}
	}
	t.Logf("%d keys, each asked about %d times by 4 goroutines: %.2f %% had exactly their burst, %.2f %% more, %d requests were uncounted; %s a decision",
		keys, 2*rate.Burst, 100*float64(exact)/float64(keys), 100*float64(more)/float64(keys), uncounted.Load(), took/time.Duration(2*uint64(rate.Burst)*keys))
	if fewer > 0 {
		t.Errorf("%d keys were refused too early", fewer)
	}
	if more > keys/500 {
		t.Errorf("%d of %d keys had more than their burst", more, keys)
	}
}

func TestKeyWithoutSlotIsAllowedAsUncounted(t *testing.T) {
	l, rate := New(1), Rate{Events: 1, Window: time.Hour, Burst: 3} // one row of eight
	for key := range uint64(8) {
		for range 3 {
			if d := l.Take(key+1, rate); !d.Allowed || d.Uncounted {
				t.Fatalf("key %d: %+v", key, d)
			}
		}
	}
	if d := l.Take(9, rate); !d.Allowed || !d.Uncounted {
		t.Errorf("the ninth: %+v", d)
	}
	for key := range uint64(8) {
		if d := l.Take(key+1, rate); d.Allowed {
			t.Errorf("key %d is free because of the ninth", key)
		}
	}
}
