package rollout

import (
	"bytes"
	"strings"
	"testing"
)

func TestATerminalSeesHowFarAStepIs(t *testing.T) {
	var out bytes.Buffer
	p := progress{w: &out, live: true, subject: "web"}
	p.begin("waiting")
	p.now("waiting for %d", 2)
	p.now("%s", strings.Repeat("long ", 20))
	p.done("ready")
	if want := "\r\x1b[Kweb: waiting …\r\x1b[Kweb: waiting for 2 …\r\x1b[Kweb: " + strings.Repeat("long ", 14) + "l …\r\x1b[Kweb: ready (0.0s)\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
