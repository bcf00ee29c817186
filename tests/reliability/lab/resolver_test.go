package lab

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/theworklabs/edge/tests/harness"
)

func newResolver(t *testing.T) *Resolver {
	t.Helper()
	r, err := OpenResolver("127.0.0.1", func(_ context.Context, name string) ([]string, error) {
		switch name {
		case "api":
			return []string{"10.0.0.2", "10.0.0.3"}, nil
		case "broken":
			return nil, errors.New("the Docker Engine is down")
		}
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// lookupA resolves the A records of a name.
func lookupA(t *testing.T, r *Resolver, name string) (addresses []string, rcode int, err error) {
	t.Helper()
	client := &dns.Client{Timeout: 200 * time.Millisecond}
	reply, _, err := client.Exchange(new(dns.Msg).SetQuestion(name+".", dns.TypeA), r.Address())
	if err != nil {
		return nil, 0, err
	}
	for _, rr := range reply.Answer {
		addresses = append(addresses, rr.(*dns.A).A.String())
	}
	return addresses, reply.Rcode, nil
}

func TestResolverAnswersAsConfigured(t *testing.T) {
	r := newResolver(t)
	truth := []string{"10.0.0.2", "10.0.0.3"}
	for _, c := range []struct {
		name   string
		lie    Lie
		want   []string
		rcode  int
		failed bool
	}{
		{name: "truth", lie: Truth, want: truth},
		{name: "silence", lie: Silence, failed: true},
		{name: "empty", lie: Empty},
		{name: "failure", lie: Failure, rcode: dns.RcodeServerFailure},
		{name: "garbage", lie: Garbage, failed: true},
		{name: "foreign", lie: Foreign, want: []string{"198.51.100.7"}},
		{name: "mixed", lie: Mixed, want: append(slices.Clone(truth), "198.51.100.7")},
	} {
		r.SetLie("api", c.lie)
		got, rcode, err := lookupA(t, r, "api")
		if (err != nil) != c.failed || rcode != c.rcode || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, code %d, %v; want %v, code %d, failed %t", c.name, got, rcode, err, c.want, c.rcode, c.failed)
		}
	}
}

func TestResolverLiesAboutOneNameOnly(t *testing.T) {
	r := newResolver(t)
	r.SetLie("control", Failure)
	if got, _, err := lookupA(t, r, "api"); err != nil || len(got) != 2 {
		t.Errorf("%v, %v; want the addresses of api", got, err)
	}
	if _, rcode, err := lookupA(t, r, "nobody"); err != nil || rcode != dns.RcodeNameError {
		t.Errorf("code %d, %v for an unknown name, want NXDOMAIN", rcode, err)
	}
	if _, rcode, err := lookupA(t, r, "broken"); err != nil || rcode != dns.RcodeNameError {
		t.Errorf("code %d, %v for a name whose first lookup fails, want NXDOMAIN", rcode, err)
	}
}

func TestArrivalLogCountsRequests(t *testing.T) {
	l, err := OpenArrivalLog("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("udp", l.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, id := range []string{"a-1", "a-2", "a-1"} {
		if _, err := conn.Write([]byte(id)); err != nil {
			t.Fatal(err)
		}
	}
	harness.EventuallyWithin(t, 5*time.Second, "a-1 has arrived twice and a-2 once", func() bool {
		return l.Times("a-1") == 2 && l.Times("a-2") == 1
	})
	if n := l.Times("a-3"); n != 0 {
		t.Errorf("a-3 has arrived %d times, want never", n)
	}
}

func TestProjectIsLockedByOneProcess(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	lock, err := Lock("shared")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock("shared"); err == nil {
		t.Fatal("one project has two locks")
	}
	lock.Close()
	again, err := Lock("shared")
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	again.Close()
}
