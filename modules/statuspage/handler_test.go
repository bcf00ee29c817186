package statuspage

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/modules/edge"
	_ "github.com/theworklabs/edge/modules/proxy"
)

// start runs Caddy with a site, and returns its URL. The site has the service api:80 at the address of a backend.
func start(t testing.TB, directives string) (url, backend string) {
	t.Helper()
	storage = t.TempDir()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/fail") {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(app.Close)
	backend = app.Listener.Addr().String()
	url = "http://" + testport.Address(t)
	var err error
	text := fmt.Sprintf("{\n admin off\n persist_config off\n storage file_system %s\n auto_https off\n log {\n level ERROR\n }\n edge {\n resolver 127.0.0.1:1\n static api:80 %s\n }\n}\n%s {\n%s\n}\n", storage, backend, url, directives)
	config, _, err = caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	return url, backend
}

// What start has loaded last, and the directory of its storage.
var (
	config  []byte
	storage string
)

// get requests a path, without following redirects.
func get(t *testing.T, method, url, body string, header http.Header) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func TestThePageIsServedAtAnyPath(t *testing.T) {
	url, _ := start(t, "handle_path /a/status* {\n edge_status\n}\nhandle {\n edge_status\n}")
	for path, want := range map[string]string{
		"/": "200 text/html; charset=utf-8", "/a/status/": "200 text/html; charset=utf-8", "/a/status": "301 ", "/a/status/main.js": "200 text/javascript; charset=utf-8",
		"/style.css": "200 text/css; charset=utf-8", "/icon.svg": "200 image/svg+xml", "/nosuch.js": "404 ", "/a/status/../../etc/passwd": "404 ", "/events": "200 text/event-stream",
	} {
		r := get(t, http.MethodGet, url+path, "", nil)
		if got := fmt.Sprintf("%d %s", r.StatusCode, r.Header.Get("Content-Type")); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
		if !strings.HasPrefix(r.Header.Get("Content-Security-Policy"), "default-src 'none'") || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: the headers are %v", path, r.Header)
		}
		if path == "/a/status" && r.Header.Get("Location") != "./status/" {
			t.Errorf("it is redirected to %s", r.Header.Get("Location"))
		}
	}
	if r := get(t, http.MethodDelete, url+"/", "", nil); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("DELETE: %d %s", r.StatusCode, r.Header.Get("Allow"))
	}
	if r := get(t, http.MethodHead, url+"/events", "", nil); r.StatusCode != http.StatusOK {
		t.Errorf("HEAD: %d", r.StatusCode)
	}
}

// TestThePageIsSmallAndLoadsNothingElse: less than 60 KB, and no address of another host.
func TestThePageIsSmallAndLoadsNothingElse(t *testing.T) {
	size := 0
	for name, file := range assets {
		size += len(file.content)
		if found := regexp.MustCompile(`(?:https?:)?//[a-z0-9-]+\.[a-z]+`).FindAll(file.content, -1); len(found) > 0 && name != "icon.svg" && !strings.Contains(string(file.content), `"http://www.w3.org/2000/svg"`) {
			t.Errorf("%s has the addresses %s", name, found)
		}
		if strings.Contains(string(file.content), " style=") || strings.Contains(string(file.content), " onclick=") {
			t.Errorf("%s has what its own policy forbids", name)
		}
		if file.contentType == "" {
			t.Errorf("%s has no type", name)
		}
	}
	if t.Logf("%d bytes in %d files", size, len(assets)); size == 0 || size > 60_000 {
		t.Errorf("the page has %d bytes", size)
	}
}

// received is a message of the stream, as far as the tests look at it.
type received struct {
	Hello    *hello
	Overview *struct{ Generation int64 }
	Services []edge.ServiceOverview
	Gone     []string
	Events   []struct{ Kind, Service, Text string }
	History  map[string]serviceLine
	raw      string
}

// open opens the stream of a page.
func open(t *testing.T, url string, header http.Header) <-chan received {
	t.Helper()
	response := get(t, http.MethodGet, url, "", header)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("got %s", response.Status)
	}
	messages := make(chan received, 1000)
	go func() {
		defer close(messages)
		lines := bufio.NewScanner(response.Body)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			text, isData := strings.CutPrefix(lines.Text(), "data: ")
			if !isData {
				continue
			}
			m := received{raw: text}
			if err := json.Unmarshal([]byte(text), &m); err != nil {
				panic(err)
			}
			messages <- m
		}
	}()
	return messages
}

// await returns the first message that a condition holds for.
func await(t *testing.T, messages <-chan received, what string, condition func(received) bool) received {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case m, ok := <-messages:
			if !ok {
				t.Fatalf("the stream has ended before %s", what)
			}
			if condition(m) {
				return m
			}
		case <-deadline:
			t.Fatalf("no message: %s", what)
		}
	}
}

func hasState(state string) func(received) bool {
	return func(m received) bool {
		return slices.ContainsFunc(m.Services, func(s edge.ServiceOverview) bool {
			return len(s.Endpoints) == 1 && string(s.Endpoints[0].State) == state
		})
	}
}

// TestAChangeIsShownWithin100Milliseconds, and the page needs no reload for anything.
func TestAChangeIsShownWithin100Milliseconds(t *testing.T) {
	url, backend := start(t, "handle_path /status* {\n edge_status {\n addresses_for private_ranges\n }\n}\nhandle {\n edge_proxy api:80\n}")
	messages := open(t, url+"/status/events", nil)
	first := await(t, messages, "the first one", func(received) bool { return true })
	if first.Hello == nil || first.Hello.Interval != 5 || first.Hello.Length != 179 || first.Hello.Actions || first.Overview == nil || first.Overview.Generation != 1 || len(first.Services) != 1 {
		t.Errorf("the first message is %s", first.raw)
	}
	if !hasState("ready")(first) {
		await(t, messages, "api is ready", hasState("ready"))
	}
	// A busy machine gets a second chance, and a third one.
	median := time.Hour
	for range 3 {
		var delays []time.Duration
		for i := range 50 {
			for len(messages) > 0 { // of the change before, which may have come twice
				<-messages
			}
			begin := time.Now()
			if _, err := edge.Drain(t.Context(), edge.DrainRequest{Endpoints: []string{backend}, Undo: i%2 == 1}, "a test"); err != nil {
				t.Fatal(err)
			}
			await(t, messages, "the drain", hasState([]string{"draining", "ready"}[i%2]))
			delays = append(delays, time.Since(begin))
			time.Sleep(2 * minInterval)
		}
		slices.Sort(delays)
		median = delays[len(delays)/2]
		if t.Logf("median %v, maximum %v", median, delays[len(delays)-1]); median <= 100*time.Millisecond {
			break
		}
	}
	if median > 100*time.Millisecond {
		t.Errorf("a change is shown after %v (median)", median)
	}
	for _, path := range []string{"/a", "/fail"} {
		get(t, http.MethodGet, url+path, "", nil)
	}
	history := await(t, messages, "the history", func(m received) bool {
		return len(m.History["api:80"].Requests) > 0 && slices.Max(m.History["api:80"].Requests) == 2
	})
	if line := history.History["api:80"]; slices.Max(line.Errors) != 1 || len(line.P95) != len(line.Requests) || line.Start == 0 {
		t.Errorf("the history is %s", history.raw)
	}
}

// TestAMessageAfterAnEventHasItsServiceAlone, since to look at all of them takes long with a thousand; the others, and those that are gone, come within a second.
func TestAMessageAfterAnEventHasItsServiceAlone(t *testing.T) {
	const others = "handle /b* {\n edge_proxy b:80 {\n hold 1ms\n }\n}\n"
	url, backend := start(t, "handle_path /status* {\n edge_status {\n addresses_for any\n }\n}\n"+others+"handle {\n edge_proxy api:80\n}")
	messages := open(t, url+"/status/events", nil)
	isReady := false
	await(t, messages, "api is ready, and b known", func(m received) bool {
		isReady = isReady || hasState("ready")(m)
		return isReady && len(edge.Snapshot()) == 2
	})
	has := func(m received, name string) bool {
		return slices.ContainsFunc(m.Services, func(s edge.ServiceOverview) bool { return s.Service == name })
	}
	for i := range 5 {
		get(t, http.MethodGet, url+"/b", "", nil) // b has changed, and there is no event of it
		if _, err := edge.Drain(t.Context(), edge.DrainRequest{Endpoints: []string{backend}, Undo: i%2 == 1}, "a test"); err != nil {
			t.Fatal(err)
		}
		both := 0
		await(t, messages, "the drain", func(m received) bool {
			if has(m, "api:80") && has(m, "b:80") && len(m.Events) > 0 {
				both++
			}
			return hasState([]string{"draining", "ready"}[i%2])(m)
		})
		if both > 1 {
			t.Errorf("%d messages of an event have all services", both)
		}
		await(t, messages, "b has changed", func(m received) bool { return has(m, "b:80") })
	}
}

// TestAddressesAreForConfiguredClientsOnly.
func TestAddressesAreForConfiguredClientsOnly(t *testing.T) {
	url, backend := start(t, "handle_path /all* {\n edge_status {\n addresses_for any\n }\n}\nhandle_path /private* {\n edge_status {\n addresses_for private_ranges 192.0.2.1\n }\n}\nhandle_path /others* {\n edge_status {\n addresses_for 192.0.2.0/24 2001:db8::1\n }\n}\nhandle_path /none* {\n edge_status\n}\nhandle {\n edge_proxy api:80\n}")
	for path, isShown := range map[string]bool{"/all": true, "/private": true, "/others": false, "/none": false} {
		m := await(t, open(t, url+path+"/events", nil), "the endpoint", hasState("ready"))
		if got := strings.Contains(m.raw, backend); got != isShown || strings.Contains(m.raw, "(address ") == isShown {
			t.Errorf("%s: the address is shown: %t, want %t\n%s", path, got, isShown, m.raw)
		}
	}
	const text = `"dial tcp [fd00::7]:80: refused", "10.1.2.3", "at 14:03:12", "2026-11-27T02:39:41.2Z", "fd00:0:0::1", "v1.2.3", "a:80", "lookup on ::1: no answer from fd00::5.", "Foo::bar", "1::"`
	names := regexp.MustCompile(`\(address [0-9a-f]{6}\)`)
	hidden := string(hideAddresses([]byte(text)))
	want := `"dial tcp A: refused", "A", "at 14:03:12", "2026-11-27T02:39:41.2Z", "A", "v1.2.3", "a:80", "lookup on A: no answer from A.", "Foo::bar", "A"`
	if got := names.ReplaceAllString(hidden, "A"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for plain, want := range map[string]string{
		"read tcp 172.18.0.2:40000->172.18.0.7:80: read: reset":                             "read tcp A->A: read: reset",
		"dial tcp:10.0.0.1:80\nfd00::1\t10.0.0.2 <fd00::5> ::ffff:10.0.0.1:80 \x1b10.0.0.3": "dial tcp:A\nA\tA <A> A:A \x1bA",
		"a\\n10.0.0.4 x10.0.0.5 10.0.0.6x v10.0.0.7":                                        "a\\n10.0.0.4 x10.0.0.5 10.0.0.6x v10.0.0.7", // no escape sequence, but a word
	} {
		text, err := json.Marshal(map[string]string{"text": plain})
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]string
		if err := json.Unmarshal([]byte(names.ReplaceAllString(string(hideAddresses(text)), "A")), &got); err != nil || got["text"] != want {
			t.Errorf("%q: got %q, %v", plain, got["text"], err)
		}
	}
	if all := names.FindAllString(hidden, -1); len(all) != 6 || all[0] == all[1] || hiddenName("10.1.2.3") != all[1] {
		t.Errorf("the names of the addresses are not unique: %q", all)
	}
}

// TestActionsNeedALogIn, the option, and a request of the page itself.
func TestActionsNeedALogIn(t *testing.T) {
	const login = "basic_auth {\n anna " + `$2a$04$wsdfDrEEM/Utbzv4EJD6Iu8tptR0vBKxFbYWBKGFSV/hwILX8IZty` + "\n}\n" // the password is secret
	url, backend := start(t, "handle_path /open* {\n edge_status {\n actions\n }\n}\nhandle_path /off* {\n "+login+"edge_status\n}\nhandle_path /on* {\n "+login+"edge_status {\n actions\n addresses_for any\n }\n}\nhandle {\n edge_proxy api:80\n}")
	user := http.Header{"Authorization": {"Basic YW5uYTpzZWNyZXQ="}, actionHeader: {"1"}}
	with := func(name, value string) http.Header {
		h := user.Clone()
		h.Del(name)
		if value != "" {
			h.Set(name, value)
		}
		return h
	}
	await(t, open(t, url+"/on/events", user), "the endpoint", hasState("ready"))
	drain := `{"drain": {"endpoint": "` + backend + `"}}`
	for _, c := range []struct {
		path, body string
		header     http.Header
		want       int
	}{
		{"/open/actions", drain, http.Header{actionHeader: {"1"}}, 403},
		{"/off/actions", drain, user, 403},
		{"/on/actions", drain, with("Authorization", ""), 401},
		{"/on/actions", drain, with(actionHeader, ""), 403},
		{"/on/actions", drain, with("Sec-Fetch-Site", "cross-site"), 403},
		{"/on/actions", "{", user, 400},
		{"/on/actions", "{}", user, 400},
		{"/on/actions", `{"maintenance": {"service": "", "on": true}}`, user, 400},
		{"/on/actions", `{"drain": {"endpoint": "nosuch-endpoint"}}`, user, 404},
		{"/on/actions", `{"maintenance": {"service": "nosuch", "on": true}}`, user, 404},
		{"/on/actions", strings.Repeat(" ", maxActionBody+1), user, 400},
		{"/on/actions", drain, with("Sec-Fetch-Site", "same-origin"), 204},
		{"/on/actions", `{"drain": {"endpoint": "` + backend + `", "undo": true}}`, user, 204},
		{"/on/actions", `{"drain": {"endpoint": "` + hiddenName(backend) + `"}}`, user, 204}, // the user does not see it
		{"/on/actions", `{"drain": {"endpoint": "` + hiddenName(backend) + `", "undo": true}}`, user, 204},
		{"/on/actions", `{"maintenance": {"service": "api", "on": true}}`, user, 204},
	} {
		if r := get(t, http.MethodPost, url+c.path, c.body, c.header); r.StatusCode != c.want {
			t.Errorf("%s %.60s %v: got %d, want %d", c.path, c.body, c.header, r.StatusCode, c.want)
		}
	}
	m := await(t, open(t, url+"/on/events", user), "the first one", func(m received) bool { return len(m.Services) > 0 && len(m.Events) > 0 })
	if m.Hello == nil || !m.Hello.Actions || m.Hello.User != "anna" || m.Services[0].Maintenance != "refuse" {
		t.Errorf("got %s", m.raw)
	}
	if !slices.ContainsFunc(m.Events, func(e struct{ Kind, Service, Text string }) bool {
		return e.Kind == "drain" && e.Text == "an operator drains it"
	}) || !strings.Contains(m.raw, "maintenance is on") {
		t.Errorf("the events are %v", m.Events)
	}
	if r := get(t, http.MethodPost, url+"/on/actions", `{"maintenance": {"service": "api", "on": false}}`, user); r.StatusCode != http.StatusNoContent {
		t.Errorf("got %d", r.StatusCode)
	}
	directory := filepath.Join(storage, "edge")
	if err := errors.Join(os.RemoveAll(directory), os.WriteFile(directory, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if r := get(t, http.MethodPost, url+"/on/actions", drain, user); r.StatusCode != http.StatusBadGateway {
		t.Errorf("a drain that is not shared: got %d, want 502", r.StatusCode)
	}
}

// TestAReloadDoesNotWaitForOpenPages, which connect again.
func TestAReloadDoesNotWaitForOpenPages(t *testing.T) {
	url, _ := start(t, "edge_status")
	messages := open(t, url+"/events", nil)
	await(t, messages, "the first one", func(received) bool { return true })
	begin := time.Now()
	if err := caddy.Load([]byte(strings.Replace(string(config), `"level":"ERROR"`, `"level":"FATAL"`, 1)), true); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the reload took %v", took)
	}
	for range messages { // until the stream ends
	}
	await(t, open(t, url+"/events", nil), "the reload", func(m received) bool {
		return slices.ContainsFunc(m.Events, func(e struct{ Kind, Service, Text string }) bool { return e.Text == "a new configuration is in force" })
	})
}

func TestTooManyPagesAreRefused(t *testing.T) {
	url, _ := start(t, "edge_status")
	for range maxStreams {
		open(t, url+"/events", nil)
	}
	if r := get(t, http.MethodGet, url+"/events", "", nil); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("got %d %v", r.StatusCode, r.Header)
	}
}
