package socketio

import (
	"encoding/json"
	"testing"
)

func TestParseMessage(t *testing.T) {
	for text, want := range map[string]message{
		"0":                       {kind: '0', namespace: "/"},
		`0{"token":"x"}`:          {kind: '0', namespace: "/", data: json.RawMessage(`{"token":"x"}`)},
		"0/admin,":                {kind: '0', namespace: "/admin"},
		"0/admin":                 {kind: '0', namespace: "/admin"},
		`2["a"]`:                  {kind: '2', namespace: "/", data: json.RawMessage(`["a"]`)},
		`212["a"]`:                {kind: '2', namespace: "/", ack: "12", data: json.RawMessage(`["a"]`)},
		`2/admin,7["a",{"b,":1}]`: {kind: '2', namespace: "/admin", ack: "7", data: json.RawMessage(`["a",{"b,":1}]`)},
	} {
		got, err := parseMessage(text)
		if err != nil || got.kind != want.kind || got.namespace != want.namespace || got.ack != want.ack || string(got.data) != string(want.data) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "7", "x", `51-["a",{}]`, `2["a"`, "212345678901234567[]"} {
		if got, err := parseMessage(text); err == nil {
			t.Errorf("%s: %+v, want an error", text, got)
		}
	}
}

// FuzzMessage checks that each valid message is encoded as it was parsed.
func FuzzMessage(f *testing.F) {
	for _, text := range []string{"0", "0/admin,", `213["echo",{"a":[1]}]`, `2/x,["a"]`, "1", `3["a"]`, `2["a"`, "2é"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseMessage(text)
		if err != nil {
			return
		}
		_, _, _ = m.event()
		p := m.packet()
		again, err := parseMessage(p.data)
		if err != nil || again.packet() != p {
			t.Errorf("%q became %q, then %q, %v", text, p.data, again.packet().data, err)
		}
	})
}

// FuzzPayload checks that each valid payload is encoded as it was parsed.
func FuzzPayload(f *testing.F) {
	for _, body := range []string{"", "2", "40\x1e42[]", "\x1e", "bAQID", "6\x1e"} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		packets, err := parsePayload(body)
		if err == nil && formatPayload(packets) != body {
			t.Errorf("%q became %q", body, formatPayload(packets))
		}
	})
}
