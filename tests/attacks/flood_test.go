package attacks

import (
	"regexp"
	"testing"
)

// TestFloodsDoNotDenyServiceToOthers runs attacks that aim at keeping the edge from serving others.
func TestFloodsDoNotDenyServiceToOthers(t *testing.T) {
	for _, c := range []struct {
		attack string
		want   string // a regular expression: how the edge refuses the attack, in the attackers' output
	}{
		{"slow clients", `(?s)body that stalls: 300 of 300 closed by the edge, after 3\d s.*headers, a byte a second: 350 of 350 closed by the edge, after 3\d s.*a TLS handshake, a byte a second: 350 of 350 closed by the edge, after 3\d s`},
		{"10,000 connections", `^10000 opened in \d+ s, 0 failed, 10000 closed by the edge`},
		{"rapid reset", `HEADERS and RST_STREAM: \d{4,} sent .*429:`},
		{"CONTINUATION flood", `on \d{2,} connections, \d{2,} of which the edge closed`},
		// HTTP/2 forbids none of these frames. The edge need not refuse them, if other clients do not have to wait.
		{"control frames", `(?s)PING: \d{4,} sent.*SETTINGS: \d{4,} sent.*empty DATA.*PRIORITY`},
		{"open streams", `(?s)POST without its body: .* \d{4,} streams reset.*answers that nobody takes: .* \d{4,} streams reset`},
	} {
		t.Run(c.attack, func(t *testing.T) {
			output := joinLines(edge.attackWithRetry(t, c.attack))
			if !regexp.MustCompile(c.want).MatchString(output) {
				t.Errorf("the attackers print:\n%s\nwant %s", output, c.want)
			}
		})
	}
}
