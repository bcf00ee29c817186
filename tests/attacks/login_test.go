package attacks

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"testing"
)

// TestPasswordGuessingIsRateLimited checks the limits of the shipped Caddyfile: an office of more than a hundred people can sign
// in from one address, and an attacker gets no further attempts by spoofing addresses.
func TestPasswordGuessingIsRateLimited(t *testing.T) {
	e, err := startEdge(filepath.Join(t.TempDir(), "edge"), nil) // one whose limits no test has used yet
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.stop(); err != nil {
			t.Error(err)
		}
	}()
	for host, login := range map[string]string{"accounting.localhost": "/api/auth/login", "crm.localhost": "/auth/login"} {
		post := func(path, head string) *http.Response {
			t.Helper()
			answers, err := e.send(host, "POST "+path+" HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 0\r\nConnection: close\r\n"+head+"\r\n")
			if err != nil || len(answers) != 1 {
				t.Fatalf("%s%s: %s", host, path, describeAnswers(answers, err))
			}
			return answers[0]
		}
		const office = 120
		for n := range office {
			if got := post(login, "").StatusCode; got != http.StatusOK {
				t.Fatalf("%s: sign-in %d of an office gets %d", host, n+1, got)
			}
		}
		backend.takeRecorded()
		passed, refused := 0, 0
		var last *http.Response
		for n := range 100 {
			last = post(login, fmt.Sprintf("X-Forwarded-For: 192.0.2.%d\r\nX-Real-IP: 192.0.2.%d\r\n", n, n))
			if last.StatusCode == http.StatusTooManyRequests {
				refused++
			} else {
				passed++
			}
		}
		got := len(backend.takeRecorded())
		after, err := strconv.Atoi(last.Header.Get("Retry-After"))
		t.Logf("ATTACK guesses at %s%s: backend saw %d, client got: %d × 200, %d × 429, retry after %d s", host, login, got, passed, refused, after)
		// The limit is 150 at once and 10 a minute: 30 are left, and a few are added in the time that the requests take.
		if passed < 30 || passed > 35 || got != passed {
			t.Errorf("%s: %d guesses pass after %d sign-ins, and the backend sees %d", host, passed, office, got)
		}
		if err != nil || after < 1 || after > 7 || last.Header.Get("RateLimit") == "" {
			t.Errorf("%s: the 429 has the headers %v", host, last.Header)
		}
		for _, path := range []string{"/api/invoices", "/"} {
			if got := post(path, "").StatusCode; got != http.StatusOK {
				t.Errorf("%s%s, which is not limited, gets %d", host, path, got)
			}
		}
	}
}
