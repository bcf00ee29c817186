package edge

import (
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestOldFieldsSetTheNewOnesWithAWarning(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	a := &App{Endpoint: "tcp://docker-guard:2375", DrainTimeout: caddy.Duration(time.Second), log: zap.New(core)}
	if err := a.acceptOldNames(); err != nil {
		t.Fatal(err)
	}
	if a.DockerHost != "tcp://docker-guard:2375" || a.TerminatingTimeout != caddy.Duration(time.Second) || a.Endpoint != "" || a.DrainTimeout != 0 {
		t.Errorf("got %+v", a)
	}
	if all := logs.FilterLevelExact(zap.WarnLevel).All(); len(all) != 2 || all[0].Message != renamedOption("endpoint") || all[1].Message != renamedOption("drain_timeout") {
		t.Errorf("the log has %v, want a warning for each old name", logs.All())
	}
	if err := a.acceptOldNames(); err != nil || logs.Len() != 2 {
		t.Errorf("the new names: %v, log %v", err, logs.All())
	}
}
