package registry_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

func TestAProblemThatIsNoticedLateTakesDNSsEndpointsAway(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.engine.Set("api", nil) // another project's container, not running yet
	s.engine.Online(true)
	s.dns.Set("api", []registry.Member{found("10.0.0.1")}) // now it runs
	s.want(t, "10.0.0.1:80 ready; ")
	s.engine.Problem("api", "project q answers to api")
	s.engine.Set("api", nil)
	s.want(t, "")
	s.engine.Problem("api", "")
	s.want(t, "10.0.0.1:80 ready; ")
}

func TestAWithdrawnWordLeavesTheOtherSourcesWord(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1")})
	s.engine.Online(true)
	s.dns.Set("api", []registry.Member{found("10.0.0.1")})
	s.engine.Online(false)
	s.dns.Withdraw("api") // the Engine and its DNS are both away: the containers need not be
	s.want(t, "10.0.0.1:80 ready; ")
}

func TestASourceThatBeginsAnewWithdrawsWhatItDoesNotRepeat(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1")})
	s.engine.Online(true)
	s.engine.Renew()
	s.want(t, "10.0.0.1:80 ready; ") // until it has looked
	s.engine.Set("other", []registry.Member{box("b", "10.0.0.2")})
	s.engine.Online(true)
	s.want(t, "")
}

func TestWhileTheEngineIsExpectedAnUnknownNameMayStillBeKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStack(t, registry.Settings{})
		s.engine.Expect()
		s.dns.Set("api", nil)
		s.dns.Online(true)
		result := s.wait(t.Context())
		time.Sleep(3 * time.Second)
		s.engine.Set("api", []registry.Member{stopped("a")})
		s.engine.Online(true)
		time.Sleep(3 * time.Second)
		s.engine.Set("api", []registry.Member{box("a", "10.0.0.1")})
		if got := <-result; got.err != nil || got.after != 6*time.Second {
			t.Errorf("got %v after %s, want an endpoint after 6s", got.err, got.after)
		}
	})
}

func TestOnceTheEngineHasSpokenAnUnknownNameIsUnknown(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.engine.Expect()
	s.dns.Set("api", nil)
	s.dns.Online(true)
	s.engine.Online(true)
	if _, err := s.service.Acquire(t.Context(), registry.Want{}); !errors.Is(err, registry.ErrUnknown) {
		t.Errorf("got %v, want ErrUnknown", err)
	}
}

func TestAServiceIsNotReadyBeforeItIsKnownHowToProbeIt(t *testing.T) {
	r := registry.New(registry.Options{})
	t.Cleanup(r.Close)
	r.Feed(registry.Engine).Set("api", []registry.Member{box("a", "10.0.0.1")})
	r.Feed(registry.Engine).Online(true)
	s, err := r.Declare("api:80")
	if err != nil {
		t.Fatal(err)
	}
	if s.Ready() {
		t.Error("ready before it was configured")
	}
	s.Configure(registry.Settings{})
	if !s.Ready() {
		t.Error("not ready although no probe is set")
	}
}

func TestAReplacedProbesLastWordIsNotTaken(t *testing.T) {
	first, second := newManual(), newManual()
	s := newStack(t, registry.Settings{Probe: first})
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1")})
	s.engine.Online(true)
	old := first.target(t, "10.0.0.1:80")
	s.service.Configure(registry.Settings{Probe: second})
	second.target(t, "10.0.0.1:80").Answers("ok")
	old.Fails("canceled")
	s.want(t, "10.0.0.1:80 ready; ")
}

func TestAListThatLosesANameLeavesItToTheOthers(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1")})
	s.engine.Online(true)
	static := s.Feed(registry.Static)
	static.Set("api:80", []registry.Member{found("127.0.0.1")})
	static.Online(true)
	s.want(t, "127.0.0.1:80 ready; ")
	static.Renew()
	s.want(t, "127.0.0.1:80 ready; ")
	static.Online(true) // without the name
	s.want(t, "10.0.0.1:80 ready; ")
}
