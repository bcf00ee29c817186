package engineio_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/engineio"
)

// readCapture returns the body of a real server's response: see testdata/capture.cjs.
func readCapture(t testing.TB, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// captures are the handshakes of real servers, with a ping interval of 10 s and a ping timeout of 5 s.
var captures = []struct{ file, sid string }{
	{"v3-text", "GazdsyQB_q64wp1BAAAA"},
	{"v3-text-message", "_7Kz8y8C6aocBADaAAAB"},
	{"v3-binary-message", "k1T0JJ8SlMdjzQOlAAAC"},
	{"v3-base64-message", "B7sS9LiUSZtw_ZgiAAAD"},
	{"v3-jsonp-message", "13kHJGeMAb58Bjp0AAAE"},
	{"v3-of-6-text", "GwEzak9MIqCLjdi5AAAA"},
	{"v3-of-6-binary-message", "YhB6uU6JXvnXf8XyAAAB"},
	{"v4-text", "Q0g-9nKMxUTNX4QMAAAC"},
	{"v4-text-message", "BMVBbyfC2VJ1Jr15AAAD"},
	{"v4-binary-message", "8krdDMImZ2ZsvDwRAAAE"},
	{"v4-jsonp-message", "jFlNHdqpQDQ6ezRVAAAF"},
}

func TestHandshakesOfRealServers(t *testing.T) {
	for _, c := range captures {
		t.Run(c.file, func(t *testing.T) {
			got, err := engineio.ReadHandshake(readCapture(t, c.file))
			if err != nil {
				t.Fatal(err)
			}
			want := engineio.Handshake{SID: c.sid, PingInterval: 10 * time.Second, PingTimeout: 5 * time.Second, Upgrades: []string{"websocket"}}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// handshakeForms are bodies with the same handshake, in the forms that the protocol describes.
var handshakeForms = []struct{ name, body string }{
	{"revision 4", `0{"sid":"a"}`},
	{"revision 4 and another packet", "0{\"sid\":\"a\"}\x1e40"},
	{"revision 4 and a part of another packet", "0{\"sid\":\"a\"}\x1e4[\"ev"},
	{"revision 4 with spaces", "0{ \"sid\" : \"a\" }\n"},
	{"revision 4 as JSONP", `___eio[0]("0{\"sid\":\"a\"}");`},
	{"revision 4 as JSONP and another packet", `___eio[12]("0{\"sid\":\"a\"}\u001e4\u2028");`},
	{"revision 3", `12:0{"sid":"a"}`},
	{"revision 3 and another packet", `12:0{"sid":"a"}2:40`},
	{"revision 3 and a part of another packet", `12:0{"sid":"a"}200:4[`},
	{"revision 3 with a character of one code unit", `20:0{"sid":"a","n":"ü"}`},
	{"revision 3 with characters of two code units", `23:0{"sid":"a","n":"🎉🎉"}2:40`},
	{"revision 3 as JSONP", `___eio[0]("12:0{\"sid\":\"a\"}2:40");`},
	{"revision 3 as JSONP with characters of two code units", `___eio[](` + "\"21:0{\\\"sid\\\":\\\"a\\\",\\\"n\\\":\\\"\\ud83c\\udf89\\\"}\"" + `);`},
	{"revision 3, binary", "\x00\x01\x02\xff0{\"sid\":\"a\"}"},
	{"revision 3, binary, and another packet", "\x00\x01\x02\xff0{\"sid\":\"a\"}\x01\x03\xff\x04\x01\x02"},
	{"revision 3, binary, with the length in bytes", "\x00\x02\x01\xff0{\"sid\":\"a\",\"n\":\"ü\"}"},
	{"revision 3, binary, with the type as a number", "\x01\x01\x02\xff\x00{\"sid\":\"a\"}"},
	{"two sids: the last one counts, as in JavaScript", `0{"sid":"b","sid":"a"}`},
	{"a name in another case", `0{"sid":"a","SID":"b"}`},
}

func TestFormsOfAHandshake(t *testing.T) {
	for _, f := range handshakeForms {
		t.Run(f.name, func(t *testing.T) {
			got, err := engineio.ReadHandshake([]byte(f.body))
			if err != nil {
				t.Fatal(err)
			}
			want := engineio.Handshake{SID: "a", PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

var invalidHandshakes = []struct{ name, body, cause string }{
	{"an empty body", "", "the body is empty"},
	{"an error", `{"code":1,"message":"Session ID unknown"}`, "not an engine.io payload"},
	{"a page", "<!doctype html><title>hello</title>", "not an engine.io payload"},
	{"a revision 4 packet of another type", "40", "not an engine.io payload"},
	{"a revision 3 packet of another type", "2:40", "not an open packet"},
	{"an empty packet", "0:", "not an open packet"},
	{"an empty revision 3 packet before the open packet", `0:12:0{"sid":"a"}`, "not an open packet"},
	{"a Base64 packet", `5:b0e30=`, "not an open packet"},
	{"a binary packet of another type", "\x00\x02\xff40", "not an open packet"},
	{"a length below zero", `-12:0{"sid":"a"}`, "not an engine.io payload"},
	{"a length out of range", `99999999999999999999:0{"sid":"a"}`, "not an engine.io payload"},
	{"a truncated packet", `12:0{"sid"`, "longer than the payload"},
	{"a packet that is longer than its length", `11:0{"sid":"a"}`, "open packet: unexpected end of JSON input"},
	{"a truncated binary packet", "\x00\x01\x02\xff0{\"sid\"", "longer than the payload"},
	{"a truncated binary length", "\x00\x01\x02", "longer than the payload"},
	{"an invalid binary length", "\x0012\xff0{\"sid\":\"a\"}", "not the length of a binary packet"},
	{"a binary length out of range", "\x00\x09\x09\x09\x09\x09\x09\x09\xff0", "not the length of a binary packet"},
	{"truncated JSON", `0{"sid":"a"`, "open packet: unexpected end of JSON input"},
	{"text after the JSON", `0{"sid":"a"}40`, "open packet: invalid character '4'"},
	{"JSON that is no object", `2:0[`, "open packet: "},
	{"an open packet without data", `1:0`, "open packet: "},
	{"an object that is null", `5:0null`, "open packet has no sid"},
	{"no sid", `0{"pingInterval":25000}`, "open packet has no sid"},
	{"a sid that is a number", `0{"sid":7}`, "sid: json: cannot unmarshal number"},
	{"a sid that is null", `0{"sid":null}`, `sid "" is empty`},
	{"an empty sid", `0{"sid":""}`, `sid "" is empty`},
	{"a sid that is too long", `0{"sid":"` + strings.Repeat("a", engineio.MaxSID+1) + `"}`, "too long"},
	{"a sid with invalid characters", `0{"sid":"a&b"}`, `sid "a&b" is`},
	{"a sid with a line break", `0{"sid":"a\nb"}`, `sid "a\nb" is`},
	{"JSONP without an argument", `___eio[0]`, "JSONP without an argument"},
	{"JSONP of a number", `___eio[0](7);`, "JSONP argument: "},
	{"truncated JSONP", `___eio[0]("0{\"sid\":\"a\"}`, "JSONP argument: unexpected EOF"},
	{"JSONP of an empty body", `___eio[0]("");`, "the body is empty"},
	{"JSONP in JSONP", `___eio[0]("___eio[0](\"0{}\")");`, "not an engine.io payload"},
}

func TestInvalidHandshakeErrorNamesTheCause(t *testing.T) {
	for _, r := range invalidHandshakes {
		t.Run(r.name, func(t *testing.T) {
			wantError(t, []byte(r.body), r.cause)
		})
	}
	t.Run("an invalid sid of an application", func(t *testing.T) {
		wantError(t, readCapture(t, "v4-own-sid"), `sid "wörker \"1\"" is`)
	})
}

func wantError(t *testing.T, body []byte, cause string) {
	t.Helper()
	h, err := engineio.ReadHandshake(body)
	if err == nil {
		t.Fatalf("%.100q was read as %+v", body, h)
	}
	if text := err.Error(); !strings.HasPrefix(text, "read engine.io handshake: ") || !strings.Contains(text, cause) {
		t.Errorf("got %q, want it to contain %q", text, cause)
	}
	if len(err.Error()) > 500 {
		t.Errorf("the error has %d bytes, want at most 500", len(err.Error()))
	}
	if !reflect.DeepEqual(h, engineio.Handshake{}) {
		t.Errorf("got %+v and an error", h)
	}
}

func TestPingTimesAreClampedOrDefault(t *testing.T) {
	for field, want := range map[string]time.Duration{
		`10000`:   10 * time.Second,
		`1500.5`:  1500500 * time.Microsecond,
		`0`:       time.Second,
		`-5`:      time.Second,
		`-1e300`:  time.Second,
		`3600000`: time.Hour,
		`1e300`:   time.Hour,
		`1e999`:   25 * time.Second,
		`null`:    25 * time.Second,
		`"10000"`: 25 * time.Second,
		`[1]`:     25 * time.Second,
	} {
		h, err := engineio.ReadHandshake(fmt.Appendf(nil, `0{"sid":"a","pingInterval":%s,"upgrades":%s}`, field, field))
		if err != nil {
			t.Errorf("%s: %v", field, err)
		}
		if h.PingInterval != want {
			t.Errorf("%s: got %s, want %s", field, h.PingInterval, want)
		}
		if h.Upgrades != nil {
			t.Errorf("%s: got the upgrades %q, want none", field, h.Upgrades)
		}
		if life := want + 20*time.Second; h.Lifetime() <= life || h.Lifetime() > life+time.Minute {
			t.Errorf("%s: the lifetime is %s, want a little more than %s", field, h.Lifetime(), life)
		}
	}
}

func TestOnlyMaxBodyBytesAreRead(t *testing.T) {
	long := `0{"pad":"` + strings.Repeat("x", engineio.MaxBody) + `","sid":"a"}`
	wantError(t, []byte(long), "open packet: unexpected end of JSON input")
	h, err := engineio.ReadHandshake([]byte("0{\"sid\":\"a\"}\x1e" + long))
	if err != nil || h.SID != "a" {
		t.Errorf("got %+v, %v; want the session a", h, err)
	}
}
