package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// notifier returns a session that tells somebody of failures, and what it prints.
func notifier(to string) (*session, *bytes.Buffer) {
	out := new(bytes.Buffer)
	return &session{stack: &compose.Stack{Name: "shop"}, settings: &Settings{Notify: to}, progress: &progress{out: out}}, out
}

var errFull = hint.New(errors.New("the disk is full"), "make space")

func TestAFailureIsToldToAWebhook(t *testing.T) {
	var got failure
	count := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count++
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%v, %v", err, r.Header)
		}
		if r.URL.Path == "/gone" {
			w.WriteHeader(http.StatusGone)
		}
	}))
	defer server.Close()
	s, out := notifier(server.URL + "/hook?token=secret")
	s.notify(t.Context(), "edge backup", errFull)
	if got.Project != "shop" || got.Command != "edge backup" || got.Error != "the disk is full" || got.Hint != "make space" || !strings.HasPrefix(got.Text, "edge backup of shop failed on ") || out.Len() > 0 {
		t.Errorf("got %+v, printed %s", got, out)
	}
	s.notify(t.Context(), "edge backup", nil)
	s.notify(t.Context(), "edge backup", ErrBusy)
	if count != 1 {
		t.Errorf("the webhook was called %d times", count)
	}
	s, out = notifier(server.URL + "/gone?token=secret")
	s.notify(t.Context(), "edge backup", errFull)
	if !strings.Contains(out.String(), "could not be reported") || !strings.Contains(out.String(), "410 Gone") || strings.Contains(out.String(), "secret") {
		t.Errorf("printed %s", out)
	}
	server.Close()
	out.Reset()
	s.notify(t.Context(), "edge backup", errFull)
	if !strings.Contains(out.String(), "refused") || strings.Contains(out.String(), "secret") {
		t.Errorf("printed %s", out)
	}
}

func TestAFailureIsMailed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sendmail"), []byte("#!/bin/sh\ncat >\"$(dirname \"$0\")/mail\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	s, out := notifier("mailto:ops@example.com")
	s.notify(t.Context(), "edge drill", errFull)
	mail, err := os.ReadFile(filepath.Join(dir, "mail"))
	if err != nil || !strings.HasPrefix(string(mail), "To: ops@example.com\nSubject: edge drill of shop failed on ") || !strings.Contains(string(mail), "\n\nedge drill of shop") || out.Len() > 0 {
		t.Errorf("mail %q, %v, printed %s", mail, err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "sendmail"), []byte("#!/bin/sh\necho no such user; exit 67\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.notify(t.Context(), "edge drill", errFull)
	if !strings.Contains(out.String(), "no such user") {
		t.Errorf("printed %s", out)
	}
}

func TestWhoIsToldIsChecked(t *testing.T) {
	for _, to := range []string{"https://example.com/hook", "mailto:you@example.com", "http://127.0.0.1:9"} {
		if err := checkNotify(to); err != nil {
			t.Errorf("%s: %v", to, err)
		}
	}
	for _, to := range []string{"you@example.com", "mailto:", "https://", "ftp://example.com"} {
		if err := checkNotify(to); err == nil || hint.Of(err) == "" {
			t.Errorf("%s: %v", to, err)
		}
	}
}

// TestAFailureBeforeTheProjectIsReadIsTold, by the backup.env of its directory.
func TestAFailureBeforeTheProjectIsReadIsTold(t *testing.T) {
	var got failure
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	directory := filepath.Join(t.TempDir(), "books")
	if err := os.Mkdir(directory, 0o755); err != nil {
		t.Fatal(err)
	}
	settings := Settings{Repository: "/backups", Password: "secret", Notify: server.URL}
	if err := settings.write(directory); err != nil {
		t.Fatal(err)
	}
	t.Chdir(directory)
	for _, command := range []struct {
		name string
		run  func() error
	}{
		{"edge backup", func() error {
			_, err := (&Backup{Docker: brokenDocker{}, Out: io.Discard}).Run(t.Context())
			return err
		}},
		{"edge backup logs", func() error {
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			_, err := (&Logs{Docker: brokenDocker{}, Out: io.Discard}).Run(t.Context())
			return err
		}},
		{"edge drill", func() error {
			_, err := (&Drill{Docker: brokenDocker{}, Out: io.Discard}).Run(t.Context())
			return err
		}},
	} {
		got = failure{}
		if err := command.run(); !errors.Is(err, errNoDaemon) {
			t.Errorf("%s: %v", command.name, err)
		}
		if got.Command != command.name || got.Project != "books" || !strings.Contains(got.Error, errNoDaemon.Error()) {
			t.Errorf("%s: the webhook got %+v", command.name, got)
		}
	}
}

var errNoDaemon = errors.New("cannot connect to the Docker daemon")

// brokenDocker is a docker command without an Engine.
type brokenDocker struct{}

func (brokenDocker) Run(context.Context, ...string) (stdout, stderr string, err error) {
	return "", "", errNoDaemon
}

func (brokenDocker) Stream(context.Context, io.Reader, io.Writer, ...string) (stderr string, err error) {
	return "", errNoDaemon
}

func TestWhatFailsEachMinuteIsToldOnceAnHour(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	status, count := http.StatusBadGateway, 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		count++
		w.WriteHeader(status)
	}))
	defer server.Close()
	s, _ := notifier(server.URL)
	s.notifyOnce(t.Context(), "logs", ErrBusy)
	s.notifyOnce(t.Context(), "logs", errFull) // it does not arrive
	status = http.StatusOK
	for range 3 {
		s.notifyOnce(t.Context(), "logs", errFull)
	}
	if count != 2 {
		t.Errorf("told %d times, want the one that did not arrive and one more", count)
	}
	s.notifyOnce(t.Context(), "drill", errFull)
	if count != 3 {
		t.Error("another command is quiet, too")
	}
}
