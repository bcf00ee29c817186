package engineio_test

import (
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/engineio"
)

const (
	sid = "Q0g-9nKMxUTNX4QMAAAC"

	v4Poll = "EIO=4&transport=polling&t=PlCZ1fW&sid=" + sid
)

// The parsed queries that several tests expect.
var (
	sessionQuery     = engineio.Query{Protocol: 4, Transport: "polling", SID: sid}
	invalidSIDQuery  = engineio.Query{Protocol: 4, Transport: "polling", InvalidSID: true}
	handshakeQuery   = engineio.Query{Protocol: 4, Transport: "polling"}
	notEngineIOQuery = engineio.Query{}
)

var queries = []struct {
	name  string
	query string
	want  engineio.Query
}{
	{"a handshake", "EIO=4&transport=polling&t=PlCZ1eA", handshakeQuery},
	{"a poll", v4Poll, sessionQuery},
	{"any order", "sid=" + sid + "&t=1&transport=polling&EIO=4", sessionQuery},
	{"revision 3", "EIO=3&transport=polling", engineio.Query{Protocol: 3, Transport: "polling"}},
	{"revision 2, which servers read as 3", "EIO=2&transport=polling", engineio.Query{Protocol: 3, Transport: "polling"}},
	{"an empty revision", "EIO=&transport=polling", engineio.Query{Protocol: 3, Transport: "polling"}},
	{"an upgrade", "EIO=4&transport=websocket&sid=" + sid, engineio.Query{Protocol: 4, Transport: "websocket", SID: sid}},
	{"a session that begins as a WebSocket", "EIO=4&transport=websocket", engineio.Query{Protocol: 4, Transport: "websocket"}},
	{"WebTransport", "EIO=4&transport=webtransport", engineio.Query{Protocol: 4, Transport: "webtransport"}},
	{"an unknown transport", "EIO=4&transport=flashsocket", engineio.Query{Protocol: 4}},
	{"no transport", "EIO=4", engineio.Query{Protocol: 4}},
	{"JSONP", "EIO=3&transport=polling&j=0", engineio.Query{Protocol: 3, Transport: "polling", JSONP: true}},
	{"JSONP without a number", "EIO=4&transport=polling&j=", engineio.Query{Protocol: 4, Transport: "polling", JSONP: true}},

	{"no query", "", notEngineIOQuery},
	{"another query", "page=2&filter%5Bname%5D=EIO&sid=" + sid, notEngineIOQuery},
	{"a name that ends with EIO", "myEIO=4&transport=polling", notEngineIOQuery},
	{"names that begin like the parameters", "EIO=4&transports=polling&sids=x&jj=1", engineio.Query{Protocol: 4}},
	{"names in another case", "EIO=4&Transport=polling&SID=x", engineio.Query{Protocol: 4}},

	{"escapes in a name", "EIO=4&transport=polling&s%69d=" + sid, sessionQuery},
	{"escapes in a value", "EIO=4&transport=%70olling&sid=%51" + sid[1:], sessionQuery},
	{"escaped characters in an application's sid", "EIO=4&transport=polling&sid=a%2Bb%3D%23", engineio.Query{Protocol: 4, Transport: "polling", SID: "a+b=#"}},
	{"a plus, which is a space", "EIO=4&transport=polling&sid=a+b", invalidSIDQuery},
	{"an incomplete escape", "EIO=4&transport=polling&sid=abc%4", invalidSIDQuery},
	{"an incomplete escape in another name", "%4=1&" + v4Poll, sessionQuery},
	{"an escaped separator", "EIO=4&transport=polling&sid=a%26b", invalidSIDQuery},
	{"a semicolon, which is no separator", "EIO=4&transport=polling&sid=a;b", invalidSIDQuery},
	{"a line break", "EIO=4&transport=polling&sid=a%0Ab", invalidSIDQuery},
	{"a letter outside of ASCII", "EIO=4&transport=polling&sid=w%C3%B6rker", invalidSIDQuery},
	{"a quote", `EIO=4&transport=polling&sid="a"`, invalidSIDQuery},

	{"an empty sid, which servers ignore", "EIO=4&transport=polling&sid=", handshakeQuery},
	{"a sid without a value", "EIO=4&transport=polling&sid", handshakeQuery},
	{"the longest sid", "EIO=4&transport=polling&sid=" + strings.Repeat("a", engineio.MaxSID), engineio.Query{Protocol: 4, Transport: "polling", SID: strings.Repeat("a", engineio.MaxSID)}},
	{"a sid that is too long", "EIO=4&transport=polling&sid=" + strings.Repeat("a", engineio.MaxSID+1), invalidSIDQuery},
	{"the longest sid, all of it escaped", "EIO=4&transport=polling&sid=" + strings.Repeat("%61", engineio.MaxSID), engineio.Query{Protocol: 4, Transport: "polling", SID: strings.Repeat("a", engineio.MaxSID)}},
	{"an escaped sid that is too long", "EIO=4&transport=polling&sid=" + strings.Repeat("%61", engineio.MaxSID+1), invalidSIDQuery},

	{"the same sid twice", v4Poll + "&sid=" + sid, sessionQuery},
	{"the same sid, once with escapes", v4Poll + "&sid=%51" + sid[1:], sessionQuery},
	{"two sids", v4Poll + "&sid=another", invalidSIDQuery},
	{"two sids, one of them twice", v4Poll + "&sid=another&sid=" + sid, invalidSIDQuery},
	{"an empty sid and another", "sid=&" + v4Poll, invalidSIDQuery},
	{"a sid and an empty one", v4Poll + "&sid=", invalidSIDQuery},
	{"two revisions: the last one counts", "EIO=3&" + v4Poll, sessionQuery},
	{"two transports: the last one counts", "transport=websocket&" + v4Poll, sessionQuery},

	{"empty pairs", "&&&=&EIO=4&&=", engineio.Query{Protocol: 4}},
}

func TestParse(t *testing.T) {
	for _, q := range queries {
		t.Run(q.name, func(t *testing.T) {
			if got := engineio.Parse(q.query); got != q.want {
				t.Errorf("%s\ngot  %+v\nwant %+v", q.query, got, q.want)
			}
		})
	}
}

func TestOnlyAPollWithoutSessionIsAHandshake(t *testing.T) {
	for query, want := range map[string]bool{
		"EIO=4&transport=polling":            true,
		"EIO=3&transport=polling&j=1&sid=":   true,
		v4Poll:                               false,
		"EIO=4&transport=websocket":          false,
		"EIO=4&transport=polling&sid=a%00":   false,
		"EIO=4&transport=polling&sid=a&sid=": false,
		"transport=polling":                  false,
		"EIO=4":                              false,
	} {
		if got := engineio.Parse(query).IsHandshake(); got != want {
			t.Errorf("%s: %t, want %t", query, got, want)
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	for name, query := range map[string]string{
		"another query": "page=2&filter%5Bname%5D=%C3%BC+b&sort=-date",
		"a poll":        v4Poll,
	} {
		if n := testing.AllocsPerRun(100, func() { engineio.Parse(query) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
