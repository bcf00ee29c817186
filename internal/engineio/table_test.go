package engineio_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/engineio"
)

const (
	serviceName    = "bigcapital-server:3000"
	firstEndpoint  = "8f1f3c1e9d0b6a2f4c7d5e8b9a0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6a7b8c"
	secondEndpoint = "1b2c3d4e5f6a7b8c8f1f3c1e9d0b6a2f4c7d5e8b9a0c1d2e3f4a5b6c7d8e9f0a"
)

// wantEndpoint checks the endpoint of a session; "" means that the session must be unknown.
func wantEndpoint(t *testing.T, table *engineio.Table, service, sid, endpoint string) {
	t.Helper()
	if got, ok := table.Lookup(service, sid); got != endpoint || ok != (endpoint != "") {
		t.Errorf("session %s of %s: got endpoint %q (%t), want %q", sid, service, got, ok, endpoint)
	}
}

func wantLen(t *testing.T, table *engineio.Table, want int) {
	t.Helper()
	if got := table.Len(); got != want {
		t.Errorf("got %d sessions, want %d", got, want)
	}
}

func TestLookupReturnsTheLearnedEndpoint(t *testing.T) {
	table := engineio.NewTable(0)
	wantEndpoint(t, table, serviceName, "a", "")
	table.Learn(serviceName, "a", firstEndpoint, time.Minute)
	table.Learn(serviceName, "b", secondEndpoint, time.Minute)
	wantEndpoint(t, table, serviceName, "a", firstEndpoint)
	wantEndpoint(t, table, serviceName, "b", secondEndpoint)
	wantLen(t, table, 2)
}

func TestServicesDoNotShareSessions(t *testing.T) {
	table := engineio.NewTable(0)
	table.Learn(serviceName, "a", firstEndpoint, time.Minute)
	wantEndpoint(t, table, "corteza:80", "a", "")
	table.Learn("corteza:80", "a", secondEndpoint, time.Minute)
	wantEndpoint(t, table, serviceName, "a", firstEndpoint)
	wantEndpoint(t, table, "corteza:80", "a", secondEndpoint)
}

func TestLearnReplacesAnEarlierEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := engineio.NewTable(0)
		table.Learn(serviceName, "a", firstEndpoint, 4*time.Second)
		table.Learn(serviceName, "a", secondEndpoint, 32*time.Second)
		wantLen(t, table, 1)
		time.Sleep(31 * time.Second)
		wantEndpoint(t, table, serviceName, "a", secondEndpoint)
		table.Learn(serviceName, "a", firstEndpoint, 4*time.Second)
		time.Sleep(4 * time.Second)
		wantEndpoint(t, table, serviceName, "a", "")
	})
}

func TestForgetRemovesASession(t *testing.T) {
	table := engineio.NewTable(0)
	table.Learn(serviceName, "a", firstEndpoint, time.Minute)
	table.Learn(serviceName, "b", secondEndpoint, time.Minute)
	table.Forget(serviceName, "a")
	table.Forget(serviceName, "a")
	table.Forget(serviceName, "never known")
	table.Forget("never known", "b")
	wantEndpoint(t, table, serviceName, "a", "")
	wantEndpoint(t, table, serviceName, "b", secondEndpoint)
	wantLen(t, table, 1)
}

func TestLearnIgnoresInvalidSessions(t *testing.T) {
	table := engineio.NewTable(0)
	table.Learn(serviceName, "", firstEndpoint, time.Minute)
	table.Learn(serviceName, strings.Repeat("a", engineio.MaxSID+1), firstEndpoint, time.Minute)
	table.Learn(serviceName, "a", firstEndpoint, 0)
	table.Learn(serviceName, "a", firstEndpoint, -time.Minute)
	wantLen(t, table, 0)
	table.Learn(serviceName, strings.Repeat("a", engineio.MaxSID), firstEndpoint, 1)
	wantLen(t, table, 1)
}

func TestUnusedSessionExpires(t *testing.T) {
	for ttl, lifetime := range map[time.Duration]time.Duration{
		1:                            time.Second,
		time.Second:                  time.Second,
		time.Second + 1:              2 * time.Second,
		64 * time.Second:             64 * time.Second,
		2*time.Hour + 15*time.Second: 8192 * time.Second,
		1000 * time.Hour:             8192 * time.Second,
		engineio.Handshake{PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second}.Lifetime(): 64 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			table := engineio.NewTable(0)
			table.Learn(serviceName, "a", firstEndpoint, ttl)
			for range 3 {
				time.Sleep(lifetime - 1)
				wantEndpoint(t, table, serviceName, "a", firstEndpoint)
			}
			time.Sleep(lifetime)
			wantLen(t, table, 1) // no operation has removed it
			wantEndpoint(t, table, serviceName, "a", "")
			wantLen(t, table, 0)
		})
	}
}

func TestFullTableEvictsTheLeastRecentlyUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := engineio.NewTable(3)
		for i, sid := range []string{"a", "b", "c"} { // each in its own queue
			table.Learn(serviceName, sid, firstEndpoint, time.Duration(30+40*i)*time.Second)
			time.Sleep(time.Second)
		}
		wantEndpoint(t, table, serviceName, "a", firstEndpoint)
		time.Sleep(time.Second)
		table.Learn(serviceName, "c", secondEndpoint, time.Minute)
		wantLen(t, table, 3)
		time.Sleep(time.Second)
		table.Learn(serviceName, "d", firstEndpoint, time.Minute)
		wantLen(t, table, 3)
		for sid, endpoint := range map[string]string{"a": firstEndpoint, "b": "", "c": secondEndpoint, "d": firstEndpoint} {
			wantEndpoint(t, table, serviceName, sid, endpoint)
		}
	})
}

func TestLearnRemovesExpiredSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		table := engineio.NewTable(0)
		for i := range n {
			table.Learn(serviceName, fmt.Sprint("short ", i), firstEndpoint, 16*time.Second)
			table.Learn("another", fmt.Sprint("long ", i), firstEndpoint, time.Hour)
		}
		time.Sleep(time.Minute)
		for i := range n {
			table.Learn(serviceName, fmt.Sprint("new ", i), firstEndpoint, time.Minute)
		}
		wantLen(t, table, 2*n)
		wantEndpoint(t, table, "another", "long 0", firstEndpoint)
		wantEndpoint(t, table, serviceName, "new 0", firstEndpoint)
	})
}

func TestATableIsSafeForConcurrentUse(t *testing.T) {
	const limit = 50
	table := engineio.NewTable(limit)
	var users sync.WaitGroup
	for user := range 8 {
		users.Go(func() {
			service := fmt.Sprint("service ", user%2)
			for i := range 2000 {
				sid := fmt.Sprint(i % 40)
				table.Learn(service, sid, service, time.Duration(1+i%9)*time.Second)
				if endpoint, ok := table.Lookup(service, sid); ok && endpoint != service {
					t.Errorf("a session of %s has the endpoint %s", service, endpoint)
				}
				if i%7 == 0 {
					table.Forget(service, sid)
				}
				if n := table.Len(); n > limit {
					t.Errorf("got %d sessions, want at most %d", n, limit)
				}
			}
		})
	}
	users.Wait()
}

func TestLookupAllocatesNothing(t *testing.T) {
	table := engineio.NewTable(0)
	table.Learn(serviceName, sid, firstEndpoint, time.Minute)
	if n := testing.AllocsPerRun(100, func() { table.Lookup(serviceName, sid) }); n > 0 {
		t.Errorf("%v allocations for a known session, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() { table.Lookup(serviceName, "unknown") }); n > 0 {
		t.Errorf("%v allocations for an unknown session, want 0", n)
	}
}

// sidOfRequest returns a sid as a request has it: as a part of a long string.
func sidOfRequest(i int) (sid string) {
	return engineio.Parse(fmt.Sprintf("EIO=4&transport=polling&sid=%020d&pad=%01000d", i, i)).SID
}

func TestMemoryPerSessionIsBounded(t *testing.T) {
	const most = 250
	table := engineio.NewTable(0)
	before := heapInUse()
	for i := range engineio.DefaultLimit {
		table.Learn(strings.Clone(serviceName), sidOfRequest(i), strings.Clone(firstEndpoint), time.Minute)
	}
	each := (heapInUse() - before) / engineio.DefaultLimit
	t.Logf("%d bytes for each session", each)
	if each > most {
		t.Errorf("%d bytes for each session, want at most %d", each, most)
	}
	wantEndpoint(t, table, serviceName, sidOfRequest(0), firstEndpoint)
}

// heapInUse returns the bytes of live heap objects.
func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestTableCountsSessionsPerEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := engineio.NewTable(0)
		for i := range 100 {
			table.Learn("api:80", fmt.Sprint("a", i), "one", time.Minute)
			table.Learn("api:80", fmt.Sprint("b", i), "two", time.Hour)
			table.Learn("web:80", fmt.Sprint("c", i), "one", time.Hour)
		}
		table.Forget("api:80", "a0")
		table.Learn("api:80", "b0", "one", time.Minute) // it changes its endpoint
		if one, two := table.EndpointSessions("api:80", "one"), table.EndpointSessions("api:80", "two"); one != 100 || two != 99 {
			t.Errorf("got %d and %d sessions, want 100 and 99", one, two)
		}
		time.Sleep(2 * time.Minute)
		if one, two := table.EndpointSessions("api:80", "one"), table.EndpointSessions("api:80", "two"); one != 0 || two != 99 {
			t.Errorf("after two minutes: got %d and %d sessions, want 0 and 99", one, two)
		}
		if n := table.EndpointSessions("nobody:80", "one"); n != 0 {
			t.Errorf("got %d sessions of an unknown service, want 0", n)
		}
	})
}
