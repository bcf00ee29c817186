package certificates

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// newTestMonitor returns the handler of a monitor that keeps its state in a directory, and its log. No certificate is served until
// the test sets served.
func newTestMonitor(t *testing.T, dir string) (eventHandler, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	m := NewMonitor()
	m.served = func(string) (certmagic.Certificate, bool) { return certmagic.Certificate{}, false }
	return eventHandler{m, &certmagic.FileStorage{Path: dir}, zap.New(core)}, logs
}

// send passes an event of certmagic to the monitor.
func send(t *testing.T, h eventHandler, name string, data map[string]any) error {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	event, err := caddy.NewEvent(ctx, name, data)
	if err != nil {
		t.Fatal(err)
	}
	return h.Handle(t.Context(), event)
}

// fail has an attempt to get a certificate for a.test begin and fail.
func fail(t *testing.T, h eventHandler) {
	t.Helper()
	if err := send(t, h, "cert_obtaining", map[string]any{"identifier": "a.test"}); err != nil {
		t.Fatal(err)
	}
	if err := send(t, h, "cert_failed", map[string]any{"identifier": "a.test", "error": errors.New("no route to host")}); err != nil {
		t.Fatal(err)
	}
}

func TestFailureIsLoggedOnceAndShown(t *testing.T) {
	h, logs := newTestMonitor(t, t.TempDir())
	h.Activate(time.Now())
	fail(t, h)
	fail(t, h)
	if all := logs.All(); len(all) != 1 || all[0].Level != zap.ErrorLevel || !strings.HasPrefix(all[0].Message, "a certificate could not be obtained: ") {
		t.Errorf("the log has %v, want one error", all)
	}
	status := h.Status(caddy.Context{})
	if len(status) != 1 || status[0].Name != "a.test" || status[0].State != Failing || status[0].Tries != 2 || status[0].NextTry.IsZero() {
		t.Errorf("got %+v", status)
	}
}

func TestFailureOfASiteWithACertificateIsAWarning(t *testing.T) {
	h, logs := newTestMonitor(t, t.TempDir())
	h.served = func(string) (cert certmagic.Certificate, found bool) {
		cert.Leaf = &x509.Certificate{NotAfter: time.Now().Add(time.Hour)}
		return cert, true
	}
	fail(t, h)
	if all := logs.All(); len(all) != 1 || all[0].Level != zap.WarnLevel {
		t.Errorf("the log has %v, want one warning", all)
	}
}

func TestFailuresCountAfterARestart(t *testing.T) {
	dir := t.TempDir()
	for range 5 {
		h, _ := newTestMonitor(t, dir)
		fail(t, h)
	}
	h, logs := newTestMonitor(t, dir)
	err := send(t, h, "cert_obtaining", map[string]any{"identifier": "a.test"})
	if !errors.Is(err, caddy.ErrEventAborted) || logs.FilterMessage("a certificate is not asked for now").Len() != 1 {
		t.Errorf("the sixth attempt within an hour: %v, log %v", err, logs.All())
	}
}

func TestSuccessDeletesTheStoredFailures(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "edge", "certificates", "a.test.json")
	h, logs := newTestMonitor(t, dir)
	fail(t, h)
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}
	if err := send(t, h, "cert_obtained", map[string]any{"identifier": "a.test"}); err != nil {
		t.Fatal(err)
	}
	if logs.FilterMessage("a certificate was obtained after failures").Len() != 1 {
		t.Errorf("the log has %v", logs.All())
	}
	if got := h.Status(caddy.Context{}); len(got) > 0 && (got[0].State == Failing || got[0].Tries != 0) {
		t.Errorf("got %+v", got)
	}
}

func TestStoredFailuresThatCanNotBeReadAreIgnored(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "edge", "certificates"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "edge", "certificates", "a.test.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, logs := newTestMonitor(t, dir)
	if err := send(t, h, "cert_obtaining", map[string]any{"identifier": "a.test"}); err != nil {
		t.Error(err)
	}
	if logs.FilterMessage("the earlier failures of this certificate can't be read").Len() != 1 {
		t.Errorf("the log has %v", logs.All())
	}
}
