package rollout

import (
	"bytes"
	"strings"
	"testing"
)

func TestTerminalShowsStepProgress(t *testing.T) {
	var out bytes.Buffer
	p := progress{out: &out, isTerminal: true, prefix: "web"}
	p.startStep("waiting")
	p.updateStep("waiting for %d", 2)
	p.updateStep("%s", strings.Repeat("long ", 20))
	p.finishStep("ready")
	if want := "\r\x1b[Kweb: waiting …\r\x1b[Kweb: waiting for 2 …\r\x1b[Kweb: " + strings.Repeat("long ", 14) + "l …\r\x1b[Kweb: ready (0.0s)\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
