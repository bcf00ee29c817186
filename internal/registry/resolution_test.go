package registry_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

func TestEngineDecidesWhileItIsConnected(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.dns.Set("api", []registry.Member{dnsMember("10.0.0.1"), dnsMember("10.0.0.9")})
	f.wantStates(t, "10.0.0.1:80 ready; 10.0.0.9:80 ready; ")
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	f.engine.SetOnline(true)
	f.wantStates(t, "10.0.0.1:80 ready; ") // .9 may be another container's by now
}

func TestDNSTakesOverAndKeepsSharedEndpoints(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	f.engine.SetOnline(true)
	claim, err := f.service.Acquire(t.Context(), registry.PickOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f.engine.SetOnline(false)
	f.dns.Set("api", []registry.Member{dnsMember("10.0.0.1"), dnsMember("10.0.0.2")})
	f.wantStates(t, "10.0.0.2:80 ready; 10.0.0.1:80 ready; ") // endpoints without a name come first
	status := f.service.Status()
	if status.InFlight != 1 || status.Endpoints[1].ID != "a" && status.Endpoints[0].ID != "a" {
		t.Errorf("the endpoint lost its request or its identity: %+v", status)
	}
	claim.Release()
	if n := len(f.conns["10.0.0.1:80"]); n != 1 {
		t.Errorf("OpenConns was called %d times for it, want once", n)
	}
}

func TestEnginesLastReportHoldsUntilDNSReports(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	f.engine.SetOnline(true)
	f.engine.SetOnline(false)
	f.wantStates(t, "10.0.0.1:80 ready; ")
}

// TestAnOldAnswerOfDNSDoesNotDecide: DNS is asked seldom while the Engine decides, so that what it said last may be another container's address by now.
func TestAnOldAnswerOfDNSDoesNotDecide(t *testing.T) {
	for name, lose := range map[string]func(engine *registry.Feed){
		"the connection is lost":     func(engine *registry.Feed) { engine.SetOnline(false) },
		"the source starts again":    func(engine *registry.Feed) { engine.MarkStale() },
		"the configuration has none": func(engine *registry.Feed) { engine.Clear() },
		"lost, and the configuration has none": func(engine *registry.Feed) {
			engine.SetOnline(false)
			engine.Clear()
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, registry.Settings{})
			<-f.LookupRequests() // of the declaration
			f.dns.SetOnline(true)
			f.dns.Set("api", []registry.Member{dnsMember("10.0.0.1")})
			f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
			f.engine.Set("unused", []registry.Member{engineMember("c", "10.0.0.9")}) // no route names it, so that nobody asks DNS for it
			f.engine.SetOnline(true)
			if !f.IsOrchestrated("api") || f.IsOrchestrated("other") {
				t.Error("the Engine decides on the name api, and on no other")
			}
			stopped := engineMember(idA, "10.0.0.1")
			stopped.Phase = registry.Stopped
			f.engine.Set("api", []registry.Member{engineMember(idB, "10.0.0.2"), stopped})
			lose(f.engine)
			if f.IsOrchestrated("api") {
				t.Error("the Engine decides, and is not there")
			}
			f.wantStates(t, "10.0.0.2:80 ready; ")
			select {
			case host := <-f.LookupRequests():
				if host != "api" {
					t.Errorf("a lookup of %q is requested", host)
				}
			default:
				t.Error("no lookup is requested")
			}
			f.dns.Set("api", []registry.Member{dnsMember("10.0.0.3")})
			f.wantStates(t, "10.0.0.3:80 ready; ")
			f.engine.MarkStale() // it knows less than DNS by now
			f.wantStates(t, "10.0.0.3:80 ready; ")
			f.engine.Clear()
			f.wantStates(t, "10.0.0.3:80 ready; ")
			unused, err := f.Declare("unused:80")
			if err != nil {
				t.Fatal(err)
			}
			if got := unused.Status().Endpoints; len(got) > 0 {
				t.Errorf("a name that DNS was never asked for has the endpoints %+v", got)
			}
		})
	}
}

func TestNameThatTheEngineNeverListedIsLeftToDNS(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.SetOnline(true)
	f.dns.Set("api", []registry.Member{dnsMember("10.0.0.1")})
	f.wantStates(t, "10.0.0.1:80 ready; ")
}

func TestNameOfAnotherProjectIsNotLeftToDNS(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.SetProblem("api", "project other answers to api")
	f.engine.Set("api", nil)
	f.engine.SetOnline(true)
	f.dns.Set("api", []registry.Member{dnsMember("10.0.0.1")})
	f.wantStates(t, "")
	if got := f.service.Status().Problem; got == "" {
		t.Error("the status lacks the problem")
	}
}

func TestStaticListHasPrecedence(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	f.engine.SetOnline(true)
	m := dnsMember("127.0.0.1")
	m.Port = 3001
	f.Feed(registry.Static).Set("api:80", []registry.Member{m})
	f.wantStates(t, "127.0.0.1:3001 ready; ")
	f.Feed(registry.Static).Clear()
	f.wantStates(t, "10.0.0.1:80 ready; ")
}

func TestNameRemovedFromStaticListIsLeftToOtherSources(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	f.engine.SetOnline(true)
	static := f.Feed(registry.Static)
	static.Set("api:80", []registry.Member{dnsMember("127.0.0.1")})
	static.SetOnline(true)
	f.wantStates(t, "127.0.0.1:80 ready; ")
	static.MarkStale()
	f.wantStates(t, "127.0.0.1:80 ready; ")
	static.SetOnline(true) // without the name
	f.wantStates(t, "10.0.0.1:80 ready; ")
}

func TestLateProblemRemovesDNSEndpoints(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.Set("api", nil) // another project's container, not running yet
	f.engine.SetOnline(true)
	f.dns.Set("api", []registry.Member{dnsMember("10.0.0.1")}) // now the container runs
	f.wantStates(t, "10.0.0.1:80 ready; ")
	f.engine.SetProblem("api", "project q answers to api")
	f.engine.Set("api", nil)
	f.wantStates(t, "")
	f.engine.SetProblem("api", "")
	f.wantStates(t, "10.0.0.1:80 ready; ")
}

func TestAfterWithdrawTheOtherSourcesReportHolds(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	f.engine.SetOnline(true)
	f.dns.Set("api", []registry.Member{dnsMember("10.0.0.1")})
	f.engine.SetOnline(false)
	f.dns.Withdraw("api") // without the Engine and DNS, the containers may still run
	f.wantStates(t, "10.0.0.1:80 ready; ")
}

func TestRestartedSourceDropsNamesItDoesNotRepeat(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	f.engine.SetOnline(true)
	f.engine.MarkStale()
	f.wantStates(t, "10.0.0.1:80 ready; ") // until the source is online again
	f.engine.Set("other", []registry.Member{engineMember("b", "10.0.0.2")})
	f.engine.SetOnline(true)
	f.wantStates(t, "")
}

func TestUnknownNamesAreHeldUntilTheEngineReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, registry.Settings{})
		f.engine.Expect()
		f.dns.Set("api", nil)
		f.dns.SetOnline(true)
		result := f.acquireAsync(t.Context())
		time.Sleep(3 * time.Second)
		f.engine.Set("api", []registry.Member{stoppedMember("a")})
		f.engine.SetOnline(true)
		time.Sleep(3 * time.Second)
		f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
		if got := <-result; got.err != nil || got.after != 6*time.Second {
			t.Errorf("got %v after %s, want an endpoint after 6s", got.err, got.after)
		}
	})
}

func TestUnknownNamesFailOnceTheEngineHasReported(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.Expect()
	f.dns.Set("api", nil)
	f.dns.SetOnline(true)
	f.engine.SetOnline(true)
	if _, err := f.service.Acquire(t.Context(), registry.PickOptions{}); !errors.Is(err, registry.ErrUnknown) {
		t.Errorf("got %v, want ErrUnknown", err)
	}
}

// TestUnknownNamesAreHeldUntilTheStaticListIsRead: DNS may answer first, at the start and after a reload that adds a list.
func TestUnknownNamesAreHeldUntilTheStaticListIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, registry.Settings{})
		static := f.Feed(registry.Static)
		static.Expect()
		f.dns.Set("api", nil)
		f.dns.SetOnline(true)
		result := f.acquireAsync(t.Context())
		time.Sleep(time.Second)
		static.Set("api:80", []registry.Member{dnsMember("10.0.0.1")})
		static.SetOnline(true)
		if got := <-result; got.err != nil || got.after != time.Second {
			t.Errorf("got %v after %s, want the endpoint of the list after 1s", got.err, got.after)
		}
	})
}

// TestANameOfSeveralProjectsIsNeverLeftToDNS: DNS would mix their containers while the Engine is not connected.
func TestANameOfSeveralProjectsIsNeverLeftToDNS(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.SetProblem("api", "project other answers to api too; only project own is used")
	f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
	f.engine.SetOnline(true)
	f.dns.Set("api", []registry.Member{dnsMember("10.0.0.1"), dnsMember("10.0.0.2")})
	for _, online := range []bool{false, true} {
		f.engine.SetOnline(online)
		f.wantStates(t, "10.0.0.1:80 ready; ")
	}
	f.engine.MarkStale() // other settings
	f.wantStates(t, "10.0.0.1:80 ready; ")
}

// TestDNSWaitsForTheEngineAtTheStart: after the start, DNS alone does not decide until the Engine has answered, or three seconds have
// passed, whether it fails or does not answer at all.
func TestDNSWaitsForTheEngineAtTheStart(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, registry.Settings{})
			defer f.Close()
			f.engine.Expect()
			f.dns.Expect()
			f.dns.Set("api", []registry.Member{dnsMember("10.0.0.1"), dnsMember("10.0.0.2")})
			f.dns.SetOnline(true)
			if fails {
				f.engine.SetOnline(false)
			}
			f.wantStates(t, "")
			result := f.acquireAsync(t.Context())
			if got := <-result; got.err != nil || got.after != 3*time.Second {
				t.Errorf("the Engine fails: %t; got %v after %s, want an endpoint after 3s", fails, got.err, got.after)
			}
			f.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
		})
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, registry.Settings{})
		defer f.Close()
		f.engine.Expect()
		f.dns.Set("api", []registry.Member{dnsMember("10.0.0.1"), dnsMember("10.0.0.2")})
		result := f.acquireAsync(t.Context())
		time.Sleep(25 * time.Millisecond)
		f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
		f.engine.SetOnline(true)
		if got := <-result; got.err != nil || got.after != 25*time.Millisecond {
			t.Errorf("got %v after %s, want an endpoint after 25ms", got.err, got.after)
		}
		f.wantStates(t, "10.0.0.1:80 ready; ")
	})
}
