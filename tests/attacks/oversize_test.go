package attacks

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestOversizedRequestsAreRefused: the size is known at the beginning of each request, so the edge refuses it before a backend sees
// it.
func TestOversizedRequestsAreRefused(t *testing.T) {
	many := func(n int) string {
		var all strings.Builder
		for i := range n {
			fmt.Fprintf(&all, "X-%d: y\r\n", i)
		}
		return all.String()
	}
	const kib = 1 << 10
	for _, c := range []struct {
		attack, host, method, target, head string
		statuses                           []int
	}{
		{"a path of 64 KiB", "accounting.localhost", "GET", "/api/" + strings.Repeat("x", 64*kib), "", []int{431, 414}},
		{"a query of 1 MiB", "accounting.localhost", "GET", "/api/?" + strings.Repeat("x", 1024*kib), "", []int{431, 414}},
		{"a header of 64 KiB", "accounting.localhost", "GET", "/api/x", "X: " + strings.Repeat("x", 64*kib) + "\r\n", []int{431}},
		{"cookies of 64 KiB", "crm.localhost", "GET", "/api/x", strings.Repeat("Cookie: "+strings.Repeat("x", kib)+"\r\n", 64), []int{431}},
		{"10,000 headers", "crm.localhost", "GET", "/api/x", many(10_000), []int{431}},
		{"a method of 64 KiB", "crm.localhost", strings.Repeat("X", 64*kib), "/api/x", "", []int{431, 400, 501}},
		{"2 MiB to the documentation", "docs.localhost", "POST", "/api/x", "Content-Length: 2097152\r\nExpect: 100-continue\r\n", []int{413}},
		{"513 MiB to the accounting", "accounting.localhost", "POST", "/api/x", "Content-Length: 537919488\r\nExpect: 100-continue\r\n", []int{413}},
		{"513 MiB to the web app", "accounting.localhost", "POST", "/x", "Content-Length: 537919488\r\nExpect: 100-continue\r\n", []int{413}},
		{"1 GiB and a byte to the CRM", "crm.localhost", "POST", "/api/x", "Content-Length: 1073741825\r\nExpect: 100-continue\r\n", []int{413}},
		{"9 EB", "crm.localhost", "POST", "/api/x", "Content-Length: 9223372036854775807\r\nExpect: 100-continue\r\n", []int{413}},
	} {
		t.Run(c.attack, func(t *testing.T) {
			backend.takeRecorded()
			answers, err := edge.send(c.host, c.method+" "+c.target+" HTTP/1.1\r\nHost: "+c.host+"\r\n"+c.head+"\r\n")
			got := backend.takeRecorded()
			t.Logf("ATTACK size: %-32s backend: %-20s client: %s", c.attack, describeRequests(got), describeAnswers(answers, err))
			if len(got) > 0 {
				t.Error("the request reaches the backend")
			}
			if len(answers) != 1 || !slices.Contains(c.statuses, answers[0].StatusCode) {
				t.Errorf("the client got %s, want one of %v", describeAnswers(answers, err), c.statuses)
			}
		})
	}
}

func TestRequestsJustUnderTheLimitsPass(t *testing.T) {
	for _, c := range []struct{ host, head, body string }{
		{"accounting.localhost", "X: " + strings.Repeat("x", 15<<10) + "\r\n", ""},
		{"docs.localhost", "Content-Length: 1048576\r\n", strings.Repeat("x", 1<<20)},
	} {
		backend.takeRecorded()
		answers, err := edge.send(c.host, "POST /api/x HTTP/1.1\r\nHost: "+c.host+"\r\n"+c.head+"\r\n"+c.body)
		if got := backend.takeRecorded(); len(answers) != 1 || answers[0].StatusCode != http.StatusOK || len(got) != 1 || len(got[0].body) != len(c.body) {
			t.Errorf("%s: %s, backend: %s", c.host, describeAnswers(answers, err), describeRequests(got))
		}
	}
}
