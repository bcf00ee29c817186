package engineio

import (
	"net/url"
	"strings"
)

// The transports of Engine.IO. WebTransport has neither sid nor query: it says in its stream which session it is of.
const (
	Polling      = "polling"
	WebSocket    = "websocket"
	WebTransport = "webtransport"
)

// Query is what a request's query says to an Engine.IO server. The zero Query is that of any other request.
type Query struct {
	Protocol   int    // 3 or 4, and 3 for all that is not 4, as servers read it; 0 without EIO
	Transport  string // the last one named, "" if it is none of the above
	SID        string // the session, unescaped; "" if there is none, or if it is Garbled
	JSONP      bool   // asks for the answer as a script, with j
	InvalidSID bool   // has a sid that no session has: too long, of strange characters, or several that differ
}

// IsHandshake reports that the answer to the request begins a session, and tells its sid in the body. A session that begins
// as a WebSocket has no other request, and needs no [Handshake].
func (q Query) IsHandshake() bool {
	return q.Transport == Polling && q.SID == "" && !q.InvalidSID
}

// Parse reads a request's undecoded query, in any order. It allocates nothing, unless the query is Engine.IO's and has
// escapes. A name's last value counts, as it does in engine.io 6; but engine.io 3 takes several for a list, so that sids
// which differ are none. EIO itself must not be written with escapes, which no client does.
func Parse(rawQuery string) Query {
	if !strings.Contains(rawQuery, "EIO=") {
		return Query{}
	}
	var q Query
	var pair string
	named := false
	for rest := rawQuery; rest != ""; {
		pair, rest, _ = strings.Cut(rest, "&")
		name, value, _ := strings.Cut(pair, "=")
		value = unescape(value)
		switch unescape(name) {
		case "EIO":
			q.Protocol = protocol(value)
		case "transport":
			q.Transport = transport(value)
		case "sid":
			q.InvalidSID = q.InvalidSID || named && value != q.SID
			q.SID, named = value, true
		case "j":
			q.JSONP = true
		}
	}
	if q.Protocol == 0 {
		return Query{}
	}
	if q.InvalidSID = q.InvalidSID || q.SID != "" && !validSID(q.SID); q.InvalidSID {
		q.SID = ""
	}
	return q
}

func protocol(eio string) int {
	if eio == "4" {
		return 4
	}
	return 3
}

func transport(name string) string {
	switch name {
	case Polling:
		return Polling
	case WebSocket:
		return WebSocket
	case WebTransport:
		return WebTransport
	}
	return ""
}

// unescape returns what s stands for in a query. What can't be unescaped, or is too long to be of interest, stays as it
// is: with its percent sign, it is no sid.
func unescape(s string) string {
	if len(s) > 3*MaxSID || strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	plain, err := url.QueryUnescape(s)
	if err != nil {
		return s
	}
	return plain
}
