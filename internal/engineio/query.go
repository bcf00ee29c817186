package engineio

import (
	"net/url"
	"strings"
)

// The transports of Engine.IO. WebTransport has neither a sid nor a query: it names its session in its stream.
const (
	Polling      = "polling"
	WebSocket    = "websocket"
	WebTransport = "webtransport"
)

// Query is what a request's query means to an Engine.IO server. The zero Query is that of any other request.
type Query struct {
	Protocol   int    // 4, or 3 for any other value, as servers read it; 0 without EIO
	Transport  string // the last one in the query; "" if it is none of the above
	SID        string // the session, unescaped; "" if there is none, or if InvalidSID
	JSONP      bool   // requests the response as a script, with the parameter j
	InvalidSID bool   // the sid is too long, has invalid characters, or is given several times with different values
}

// IsHandshake reports whether the response to the request begins a session, and names its sid in the body. A session that
// begins as a WebSocket has no other request, and needs no [Handshake].
func (q Query) IsHandshake() bool {
	return q.Transport == Polling && q.SID == "" && !q.InvalidSID
}

// Parse reads a request's undecoded query, with its parameters in any order. It allocates nothing, unless the query is
// Engine.IO's and has escapes. Of several values of a parameter it takes the last, as engine.io 6 does. Because engine.io 3
// reads several values as a list, different sids are an invalid sid. EIO itself must not have escapes; no client writes them.
func Parse(rawQuery string) Query {
	if !strings.Contains(rawQuery, "EIO=") {
		return Query{}
	}
	var q Query
	var pair string
	hasSID := false
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
			q.InvalidSID = q.InvalidSID || hasSID && value != q.SID
			q.SID, hasSID = value, true
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

// unescape decodes a part of a query. It returns s unchanged if s has an invalid escape or is longer than any sid: with its
// percent sign, such a text is not a valid sid.
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

// MaxSID is the length of the longest valid session id, in bytes. Engine.IO's own ids have 20.
const MaxSID = 128

// validSID reports whether s can be a session's id. Engine.IO makes its ids of letters, digits, - and _, but an application
// may generate its own. validSID accepts all printable ASCII characters except quotes and separators.
func validSID(s string) bool {
	if s == "" || len(s) > MaxSID {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ' || c >= 0x7f:
			return false
		case c == '"' || c == '\'' || c == '`' || c == '\\' || c == '%' || c == '&' || c == ',' || c == ';' || c == '<' || c == '>':
			return false
		}
	}
	return true
}
