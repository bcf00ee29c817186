package socketproxy_test

import (
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/socketproxy"
)

// allowedRequests matches the only requests that may reach the Docker Engine.
var allowedRequests = regexp.MustCompile(`^((GET|HEAD) (/v1\.\d{1,3})?/(_ping|version)|GET (/v1\.\d{1,3})?/(events|containers/json)(\?[^ ]*)?)$`)

func FuzzOnlyAllowedRequestsReachEngine(f *testing.F) {
	for _, target := range []string{
		"/_ping", "/v1.41/events?since=1", "/containers/json?all=1", "//_ping", "/v1.41/../info", "/containers%2Fjson",
		"http://proxy/version", "*", "/v1.41/containers/json/../../secrets", "/containers/json?filters=%7B%7D#x", "/_PING",
	} {
		f.Add("GET", target)
		f.Add("POST", target)
	}
	f.Add("HEAD", "/_ping")
	f.Add("GET", "/_ping HTTP/1.1\r\nX: /info")
	e := newFakeEngine(f, dockerHandler)
	p := socketproxy.New(e.socket)
	f.Fuzz(func(t *testing.T, method, target string) {
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + target + " HTTP/1.1\r\nHost: proxy\r\n\r\n")))
		if err != nil {
			return // a server rejects it
		}
		e.takeRequests()
		w := httptest.NewRecorder()
		p.ServeHTTP(w, req)
		requests := e.takeRequests()
		for _, q := range requests {
			if !allowedRequests.MatchString(q) {
				t.Errorf("%q %q: the Engine got the request %q", method, target, q)
			}
		}
		if w.Code != http.StatusForbidden && len(requests) != 1 {
			t.Errorf("%q %q: answered with %d after %d requests to the Engine", method, target, w.Code, len(requests))
		}
		if strings.Contains(w.Body.String(), "hunter2") {
			t.Errorf("%q %q: the response contains a secret: %s", method, target, w.Body)
		}
	})
}

// newFuzzedProxy returns a proxy for a Docker Engine whose responses setBody sets.
func newFuzzedProxy(f *testing.F) (p *socketproxy.Proxy, setBody func([]byte)) {
	f.Helper()
	var bytes atomic.Pointer[[]byte]
	e := newFakeEngine(f, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(*bytes.Load()) })
	return socketproxy.New(e.socket), func(b []byte) { e.takeRequests(); bytes.Store(&b) }
}

func get(p *socketproxy.Proxy, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w
}

// unexpectedFields returns the names of the fields that a client must not get.
func unexpectedFields(fields map[string]json.RawMessage, needed ...string) []string {
	for _, name := range needed {
		delete(fields, name)
	}
	return slices.Sorted(maps.Keys(fields))
}

// isAllowedLabel reports whether discovery reads a label.
func isAllowedLabel(label string) bool {
	switch label {
	case "com.docker.compose.project", "com.docker.compose.service", "com.docker.compose.container-number", "com.docker.compose.oneoff", "com.docker.compose.depends_on":
		return true
	}
	return strings.HasPrefix(label, "edge.")
}

func FuzzListIsStripped(f *testing.F) {
	for _, seed := range []string{
		fullList, "[]", "null", "[null]", "", "{", `[{"labels":{"token":"hunter2"},"Labels":null}]`, `[{"Labels":{"a":"b"},"LABELS":{"c":"d"}}]`,
		`[{"NetworkSettings":5}] trailing`, `[{"Id":"a","COMMAND":"x"}]`, `[{"Created":1e99}]`,
	} {
		f.Add([]byte(seed))
	}
	p, setBody := newFuzzedProxy(f)
	f.Fuzz(func(t *testing.T, sent []byte) {
		setBody(sent)
		w := get(p, "/containers/json")
		if w.Code == http.StatusBadGateway {
			return
		}
		var list []map[string]json.RawMessage
		if err := json.Unmarshal(w.Body.Bytes(), &list); w.Code != http.StatusOK || err != nil {
			t.Fatalf("%q: the proxy answers %d %q: %v", sent, w.Code, w.Body, err)
		}
		for _, c := range list {
			var labels map[string]string
			if err := json.Unmarshal(c["Labels"], &labels); err != nil {
				t.Errorf("%q: labels %s: %v", sent, c["Labels"], err)
			}
			for name := range labels {
				if !isAllowedLabel(name) {
					t.Errorf("%q: the list has the label %q", sent, name)
				}
			}
			if extra := unexpectedFields(c, "Id", "Names", "Image", "ImageID", "Created", "State", "Status", "Labels", "NetworkSettings"); len(extra) > 0 {
				t.Errorf("%q: the list has the fields %q", sent, extra)
			}
		}
	})
}

func FuzzEventsAreStripped(f *testing.F) {
	for _, seed := range []string{
		`{"Type":"container","Action":"kill","Actor":{"ID":"a","Attributes":{"signal":"15","token":"hunter2"}}}`,
		`{"Type":"container","Action":"exec_create: sh -c hunter2","Actor":{"ID":"a"}}`,
		`{"type":"container","action":"start","actor":{"attributes":{"a":"b"},"ATTRIBUTES":{"c":"d"}}}{"Type":"network","Action":"connect"}`,
		`{"Type":"container","Action":"health_status: healthy"}` + "\n\n" + `{}`, "null", "[]", "{", "",
	} {
		f.Add([]byte(seed))
	}
	p, setBody := newFuzzedProxy(f)
	f.Fuzz(func(t *testing.T, sent []byte) {
		setBody(sent)
		w := get(p, "/events")
		if w.Code != http.StatusOK {
			t.Fatalf("%q: the proxy answers %d %q", sent, w.Code, w.Body)
		}
		for in := json.NewDecoder(w.Body); ; {
			var e map[string]json.RawMessage
			if err := in.Decode(&e); err == io.EOF {
				return
			} else if err != nil {
				t.Fatalf("%q: an invalid stream: %v", sent, err)
			}
			checkEvent(t, sent, e)
		}
	})
}

func checkEvent(t *testing.T, sent []byte, e map[string]json.RawMessage) {
	t.Helper()
	var action string
	var actor map[string]json.RawMessage
	var attributes map[string]string
	for name, part := range map[string]struct {
		raw json.RawMessage
		to  any
	}{"action": {e["Action"], &action}, "actor": {e["Actor"], &actor}} {
		if err := json.Unmarshal(part.raw, part.to); err != nil {
			t.Fatalf("%q: %s: %v", sent, name, err)
		}
	}
	if err := json.Unmarshal(actor["Attributes"], &attributes); err != nil {
		t.Fatalf("%q: attributes: %v", sent, err)
	}
	name, _, _ := strings.Cut(action, ": ")
	if !slices.Contains(discovery.EventActions, name) {
		t.Errorf("%q: forwarded the event %q", sent, action)
	}
	for name := range attributes {
		if !isAllowedLabel(name) && !slices.Contains([]string{"signal", "exitCode", "container", "name", "type", "image", "oldName"}, name) {
			t.Errorf("%q: forwarded the attribute %q", sent, name)
		}
	}
	if extra := unexpectedFields(e, "Type", "Action", "Actor", "scope", "time", "timeNano"); len(extra) > 0 {
		t.Errorf("%q: the event has the fields %q", sent, extra)
	}
	if extra := unexpectedFields(actor, "ID", "Attributes"); len(extra) > 0 {
		t.Errorf("%q: the actor has the fields %q", sent, extra)
	}
}

// FuzzNoSecretIsForwarded: the proxy strips secrets from all fields in which Docker Engines have them, whatever a label is called.
func FuzzNoSecretIsForwarded(f *testing.F) {
	for _, label := range []string{"token", "edge", "edge.x", "EDGE.x", "com.docker.compose.project", "com.docker.compose.project ", "", "signal"} {
		f.Add(label)
	}
	const secret = "hunter2-c0ffee"
	p, setBody := newFuzzedProxy(f)
	f.Fuzz(func(t *testing.T, label string) {
		if strings.Contains(label, secret) || isAllowedLabel(strings.ToValidUTF8(label, "\uFFFD")) {
			return
		}
		labels := map[string]string{label: secret}
		list, err := json.Marshal([]map[string]any{{
			"Id": "a", "Labels": labels, "Command": secret, "Mounts": []any{map[string]string{"Source": secret}},
			"HostConfig": map[string]string{"NetworkMode": secret}, "Ports": []any{secret},
		}})
		if err != nil {
			t.Fatal(err)
		}
		setBody(list)
		if w := get(p, "/containers/json"); w.Code != http.StatusOK || strings.Contains(w.Body.String(), secret) {
			t.Errorf("label %q: list %d %s, want no secret", label, w.Code, w.Body)
		}
		if slices.Contains([]string{"signal", "exitCode", "container", "name", "type", "image", "oldName"}, label) {
			return // the Docker Engine's own attribute
		}
		event, err := json.Marshal(map[string]any{
			"Type": "container", "Action": "start", "status": secret,
			"Actor": map[string]any{"ID": "a", "Attributes": labels},
		})
		if err != nil {
			t.Fatal(err)
		}
		setBody(event)
		if w := get(p, "/events"); !strings.Contains(w.Body.String(), `"start"`) || strings.Contains(w.Body.String(), secret) {
			t.Errorf("label %q: events %s, want no secret", label, w.Body)
		}
	})
}
