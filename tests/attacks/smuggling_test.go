package attacks

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// smuggledRequest is the request that an attacker hides in the body of another one.
const smuggledRequest = "GET /api/smuggled HTTP/1.1\r\nHost: accounting.localhost\r\n\r\n"

// TestNothingIsSmuggled sends requests whose end two programs can see in two places. The backend must never see the inner request
// as a request, and the end of what it gets must be unambiguous.
func TestNothingIsSmuggled(t *testing.T) {
	length := func(n int) string { return fmt.Sprintf("Content-Length: %d\r\n", n) }
	const chunked = "Transfer-Encoding: chunked\r\n"
	const empty = "0\r\n\r\n"
	for _, c := range []struct {
		attack, head, body string
		refused            bool // with 400, 417 or 501, and nothing reaches the backend
	}{
		{"CL.TE", length(len(empty)+len(smuggledRequest)) + chunked, empty + smuggledRequest, false},
		{"TE.CL", chunked + length(4), "5c\r\n" + smuggledRequest + "\r\n" + empty, false},
		{"TE.TE, the second unknown", chunked + "Transfer-Encoding: x\r\n", empty + smuggledRequest, true},
		{"TE.TE, the same twice", chunked + chunked, empty + smuggledRequest, true},
		{"TE list", "Transfer-Encoding: chunked, identity\r\n", empty + smuggledRequest, true},
		{"TE in capitals", "Transfer-Encoding: CHUNKED\r\n" + length(len(empty)+len(smuggledRequest)), empty + smuggledRequest, false},
		{"TE xchunked", "Transfer-Encoding: xchunked\r\n" + length(len(empty)+len(smuggledRequest)), empty + smuggledRequest, true},
		{"TE with a tab", "Transfer-Encoding:\tchunked\r\n" + length(len(empty)+len(smuggledRequest)), empty + smuggledRequest, false},
		{"TE with a vertical tab", "Transfer-Encoding: \vchunked\r\n" + length(len(empty)+len(smuggledRequest)), empty + smuggledRequest, true},
		{"TE with a space before the colon", "Transfer-Encoding : chunked\r\n" + length(len(empty)+len(smuggledRequest)), empty + smuggledRequest, true},
		{"TE folded", "Transfer-Encoding:\r\n chunked\r\n" + length(len(empty)+len(smuggledRequest)), empty + smuggledRequest, false},
		{"TE after a bare LF", "X: y\nTransfer-Encoding: chunked\r\n" + length(len(empty)+len(smuggledRequest)), empty + smuggledRequest, false},
		{"TE after a bare CR", "X: y\rTransfer-Encoding: chunked\r\n" + length(len(smuggledRequest)), smuggledRequest, true},
		{"TE with NUL", "Transfer-Encoding: chunked\x00\r\n" + length(len(smuggledRequest)), smuggledRequest, true},
		{"TE with an underscore", "Transfer_Encoding: chunked\r\n" + length(len(empty)+len(smuggledRequest)), empty + smuggledRequest, false},
		{"CL twice, different", length(3) + length(len(smuggledRequest)), smuggledRequest, true},
		{"CL twice, the same", length(len(smuggledRequest)) + length(len(smuggledRequest)), smuggledRequest, false},
		{"CL as a list", "Content-Length: 3, 3\r\n", "abc", true},
		{"CL with a plus", "Content-Length: +3\r\n", "abc", true},
		{"CL negative", "Content-Length: -3\r\n", "abc", true},
		{"CL in hexadecimal", "Content-Length: 0x3\r\n", "abc", true},
		{"CL too large", "Content-Length: 99999999999999999999\r\n", "abc", true},
		{"CL empty", "Content-Length: \r\n", "abc", true},
		{"CL with a space inside", "Content-Length: 3 3\r\n", "abc", true},
		{"chunk size too large", chunked, "ffffffffffffffff1\r\n" + smuggledRequest, true},
		{"chunk size negative", chunked, "-1\r\n" + smuggledRequest, true},
		{"chunk size with 0x", chunked, "0x5\r\nhello\r\n" + empty, true},
		{"chunk extension", chunked, "5;a=\"\r\n" + "hello\r\n" + empty, false},
		{"chunk extension of 20 kB", chunked, "5;" + strings.Repeat("a", 20_000) + "\r\nhello\r\n" + empty, true},
		{"chunk ended by a bare LF", chunked, "5\nhello\n0\n\n" + smuggledRequest, false},
		{"chunk with something after it", chunked, "5\r\nhelloXX\r\n" + empty, true},
		{"a trailer that sets the length", chunked + "Trailer: Content-Length\r\n", "0\r\nContent-Length: 5\r\n\r\n", false},
		{"GET with a body", length(len(smuggledRequest)), smuggledRequest, false},
		{"Expect", "Expect: 100-continue\r\n" + length(len(smuggledRequest)), smuggledRequest, false},
		{"an unknown Expect", "Expect: 200-ok\r\n" + length(3), "abc", true},
		{"a request that ends with LF alone", "X: y\n" + "\n" + smuggledRequest, "", false},
		{"h2c", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n" + length(len(smuggledRequest)), smuggledRequest, false},
		{"Connection names the length", "Connection: close, Content-Length\r\n" + length(len(smuggledRequest)), smuggledRequest, false},
		{"Connection names the encoding", "Connection: close, Transfer-Encoding\r\n" + chunked, "5\r\nhello\r\n" + empty, false},
		{"a line without a colon", "nothing\r\n", "", true},
		{"a header without a name", ": x\r\n", "", true},
	} {
		t.Run(c.attack, func(t *testing.T) {
			backend.takeRecorded()
			method := "POST"
			if strings.HasPrefix(c.attack, "GET") {
				method = "GET"
			}
			answers, err := edge.send("accounting.localhost", method+" /api/outer HTTP/1.1\r\nHost: accounting.localhost\r\n"+c.head+"\r\n"+c.body)
			got := backend.takeRecorded()
			t.Logf("ATTACK %-36s backend: %-40s client: %s", c.attack, describeRequests(got), describeAnswers(answers, err))
			for _, e := range got {
				if problem := ambiguity(e.head); problem != "" {
					t.Errorf("the backend gets %s:\n%s", problem, e.head)
				}
			}
			if c.refused {
				if len(got) > 0 || len(answers) != 1 || answers[0].StatusCode != 400 && answers[0].StatusCode != 501 && answers[0].StatusCode != 417 {
					t.Errorf("the edge does not refuse it")
				}
				return
			}
			// What follows the end of the outer request may be a second request: then the client gets two answers. A request is
			// smuggled if the backend sees it and the edge does not.
			if len(got) > len(answers) {
				t.Errorf("the backend sees %d requests, and the client gets %d answers", len(got), len(answers))
			}
		})
	}
}

var (
	lengthHeader   = regexp.MustCompile(`(?im)^content-length:`)
	encodingHeader = regexp.MustCompile(`(?im)^transfer-encoding:`)
	bareLineEnd    = regexp.MustCompile(`[^\r]\n|\r[^\n]|\x00`)
	foldedLine     = regexp.MustCompile(`\r\n[ \t]`)
)

// ambiguity returns why the head of a request can be interpreted in two ways (RFC 9112, section 6.3), or "".
func ambiguity(head string) string {
	n, e := len(lengthHeader.FindAllString(head, -1)), len(encodingHeader.FindAllString(head, -1))
	switch {
	case n+e > 1:
		return fmt.Sprintf("%d lengths and %d encodings", n, e)
	case bareLineEnd.MatchString(head):
		return "a bare CR or LF, or NUL"
	case foldedLine.MatchString(head):
		return "a folded line"
	}
	return ""
}
