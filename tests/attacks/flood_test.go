package attacks

import (
	"regexp"
	"testing"
)

// TestFloodsDoNotDenyServiceToOthers: what strangers do to keep the edge from serving others, and how it refuses them.
func TestFloodsDoNotDenyServiceToOthers(t *testing.T) {
	for _, c := range []struct{ attack, refused string }{
		{"slow clients", `(?s)body that stalls: 300 of 300 closed by the edge, after 3\d s.*headers, a byte a second: 350 of 350 closed by the edge, after 3\d s.*a TLS handshake, a byte a second: 350 of 350 closed by the edge, after 3\d s`},
		{"10,000 connections", `^10000 opened in \d+ s, 0 failed, 10000 closed by the edge`},
		{"rapid reset", `HEADERS and RST_STREAM: \d{4,} sent .*429:`},
		{"CONTINUATION flood", `on \d{2,} connections, \d{2,} of which the edge closed`},
		// None of these is forbidden: it is enough that others don't notice.
		{"control frames", `(?s)PING: \d{4,} sent.*SETTINGS: \d{4,} sent.*empty DATA.*PRIORITY`},
		{"open streams", `(?s)POST without its body: .* \d{4,} streams reset.*answers that nobody takes: .* \d{4,} streams reset`},
	} {
		t.Run(c.attack, func(t *testing.T) {
			said := joinLines(edge.attackWithRetry(t, c.attack))
			if !regexp.MustCompile(c.refused).MatchString(said) {
				t.Errorf("the attackers say:\n%s\nwant %s", said, c.refused)
			}
		})
	}
}
