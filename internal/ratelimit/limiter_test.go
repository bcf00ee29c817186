package ratelimit

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func stringKey(l *Limiter, s string) uint64 { return l.HashKey().Hash([]byte(s)) }

func TestBurstIsAllowedThenRateApplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, rate := New(100), Rate{Events: 6, Window: time.Minute, Burst: 3}
		for want := 2; want >= 0; want-- {
			if d := l.Take(stringKey(l, "a"), rate); !d.Allowed || d.Remaining != want {
				t.Fatalf("with a full bucket: got %+v, want %d remaining", d, want)
			}
		}
		if d := l.Take(stringKey(l, "a"), rate); d.Allowed || d.RetryAfter != 10*time.Second {
			t.Fatalf("with an empty bucket: got %+v, want a retry after 10s", d)
		}
		if d := l.Take(stringKey(l, "b"), rate); !d.Allowed {
			t.Fatal("the limit applies to another key")
		}
		time.Sleep(10*time.Second - time.Nanosecond)
		if d := l.Take(stringKey(l, "a"), rate); d.Allowed || d.RetryAfter != 1 {
			t.Fatalf("a nanosecond too early: got %+v", d)
		}
		time.Sleep(time.Nanosecond)
		if d := l.Take(stringKey(l, "a"), rate); !d.Allowed || d.RetryAfter != 10*time.Second {
			t.Fatalf("a token later: got %+v, want it allowed, and the next after 10s", d)
		}
		time.Sleep(time.Hour)
		if d := l.Take(stringKey(l, "a"), rate); d.Remaining != 2 {
			t.Errorf("after an hour: got %d remaining, want 2, as the burst is 3", d.Remaining)
		}
	})
}

func TestRefusedRequestsTakeNoTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, rate := New(100), Rate{Events: 1, Window: time.Minute, Burst: 1}
		l.Take(1, rate)
		for range 1000 {
			if l.Take(1, rate).Allowed {
				t.Fatal("got a request allowed, want none until a token is back")
			}
		}
		time.Sleep(time.Minute)
		if !l.Take(1, rate).Allowed {
			t.Error("refused requests delay the next token")
		}
	})
}

func TestFasterRateShortensTheWaitOfLimitedKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(100)
		l.Take(1, Rate{Events: 1, Window: 24 * time.Hour, Burst: 1})
		if d := l.Take(1, Rate{Events: 60, Window: time.Minute, Burst: 1}); d.Allowed || d.RetryAfter > time.Second {
			t.Errorf("after a change to one a second: got %+v, want at most 1s", d)
		}
	})
}

// TestLimiterMatchesReferenceTokenBucket compares the limiter with a simple token bucket, step by step, for random rates and times.
func TestLimiterMatchesReferenceTokenBucket(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		// The window is a multiple of the interval, so that the simple bucket is exact.
		rate := Rate{Events: 1 + random.IntN(5), Burst: 1 + random.IntN(10)}
		interval := time.Duration(1 + random.IntN(1000))
		rate.Window = interval * time.Duration(rate.Events)
		clock := time.Unix(0, 0)
		l := newLimiter(10, func() time.Time { return clock })
		var missing time.Duration // the time in which the missing tokens come back
		for step := range 300 {
			wait := time.Duration(random.IntN(int(3 * interval)))
			clock = clock.Add(wait)
			missing = max(0, missing-wait)
			allowed := missing+interval <= interval*time.Duration(rate.Burst)
			if allowed {
				missing += interval
			}
			if got := l.Take(7, rate); got.Allowed != allowed {
				t.Fatalf("%+v, step %d: got allowed %t, want %t", rate, step, got.Allowed, allowed)
			}
		}
	}
}

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
				t.Errorf("key %d: got %d requests allowed, want 500", k, n)
			}
		}
	})
}

// TestFloodOfKeysDoesNotResetLimitedKey: a limited key stays limited while a million other keys have one request each.
func TestFloodOfKeysDoesNotResetLimitedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, rate := New(1000), Rate{Events: 1, Window: time.Hour, Burst: 10}
		for range 10 {
			l.Take(stringKey(l, "limited"), rate)
		}
		for k := range 1_000_000 {
			l.Take(uint64(k)*0x9e3779b97f4a7c15, rate)
			if k%1000 == 0 && l.Take(stringKey(l, "limited"), rate).Allowed {
				t.Fatalf("the limited key is allowed after %d other keys", k)
			}
		}
		if n, slots := l.CountKeys(), len(l.rows)*len(row{}); n > slots || slots > 8*1000 {
			t.Errorf("got %d keys in %d slots, want at most 8000 slots", n, slots)
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
			t.Errorf("got %d keys, want 100", n)
		}
		time.Sleep(time.Second)
		if n := l.CountKeys(); n != 0 {
			t.Errorf("a second later: got %d keys, want none", n)
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
			t.Errorf("%+v: got no error", r)
		}
	}
	if err := (Rate{Events: 1, Window: time.Second, Burst: 1}).Validate(); err != nil {
		t.Error(err)
	}
}

// TestMillionKeysEachGetTheirBurst: each key has twice as many requests as its burst, from several goroutines. No key gets fewer than
// its burst, and few get more: those in a full row.
func TestMillionKeysEachGetTheirBurst(t *testing.T) {
	keys, rate := uint64(million), Rate{Events: 1, Window: time.Hour, Burst: 3}
	if testing.Short() {
		keys /= 10
	}
	l := New(int(keys))
	allowed := make([]atomic.Int32, keys)
	var uncounted atomic.Uint64
	start := time.Now()
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
	duration := time.Since(start)
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
	t.Logf("%d keys with %d requests each, from 4 goroutines: %.2f %% got exactly their burst, %.2f %% more, %d requests were uncounted; %s a decision",
		keys, 2*rate.Burst, 100*float64(exact)/float64(keys), 100*float64(more)/float64(keys), uncounted.Load(), duration/time.Duration(2*uint64(rate.Burst)*keys))
	if fewer > 0 {
		t.Errorf("%d keys got fewer requests than their burst", fewer)
	}
	if more > keys/500 {
		t.Errorf("%d of %d keys got more requests than their burst", more, keys)
	}
}

func TestKeyWithoutSlotIsAllowedAsUncounted(t *testing.T) {
	l, rate := New(1), Rate{Events: 1, Window: time.Hour, Burst: 3} // one row of eight
	for key := range uint64(8) {
		for range 3 {
			if d := l.Take(key+1, rate); !d.Allowed || d.Uncounted {
				t.Fatalf("key %d: got %+v, want it allowed and counted", key, d)
			}
		}
	}
	if d := l.Take(9, rate); !d.Allowed || !d.Uncounted {
		t.Errorf("the ninth key: got %+v, want it allowed and uncounted", d)
	}
	for key := range uint64(8) {
		if d := l.Take(key+1, rate); d.Allowed {
			t.Errorf("key %d is allowed after the ninth key", key)
		}
	}
}
