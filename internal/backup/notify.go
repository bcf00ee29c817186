package backup

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/hint"
)

// failure is what a webhook gets, as JSON. Text is the name that chat servers expect.
type failure struct {
	Text    string    `json:"text"`
	Project string    `json:"project"`
	Command string    `json:"command"`
	Error   string    `json:"error"`
	Hint    string    `json:"hint,omitempty"`
	Host    string    `json:"host"`
	Time    time.Time `json:"time"`
}

// notifyTimeout bounds a notification.
const notifyTimeout = 20 * time.Second

// quietTime is how long a command that fails each minute says so only once.
const quietTime = time.Hour

// notify notifies the operator of a failure, if backup.env says how. An interrupt is none.
func (s *session) notify(ctx context.Context, command string, err error) {
	if s.shouldNotify(ctx, err) {
		s.send(ctx, command, err)
	}
}

// notifyOnce is notify for a command that runs each minute: it notifies once in an hour.
func (s *session) notifyOnce(ctx context.Context, command string, err error) {
	if s.shouldNotify(ctx, err) && !s.wasNotified(command) && s.send(ctx, command, err) {
		s.rememberNotified(command)
	}
}

func (s *session) shouldNotify(ctx context.Context, err error) bool {
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrBusy) || errors.Is(err, context.Canceled) {
		return false
	}
	if s.settings == nil { // it failed early
		s.settings, _ = ReadSettings(cmp.Or(s.project.Directory, "."))
	}
	return s.settings != nil && s.settings.Notify != ""
}

// projectName returns the name of the project, or of its directory if the project could not be read.
func (s *session) projectName() string {
	if s.stack != nil {
		return s.stack.Name
	}
	directory, err := filepath.Abs(s.project.Directory)
	if err != nil {
		return cmp.Or(s.project.Name, "the project")
	}
	return cmp.Or(s.project.Name, filepath.Base(directory))
}

// send notifies the operator of a failure, and reports whether it could.
func (s *session) send(ctx context.Context, command string, err error) bool {
	host, _ := os.Hostname() // an empty name is no reason to say nothing
	f := failure{Project: s.projectName(), Command: command, Error: err.Error(), Hint: hint.Of(err), Host: host, Time: time.Now().UTC()}
	f.Text = fmt.Sprintf("%s of %s failed on %s: %s", f.Command, f.Project, f.Host, f.Error)
	if f.Hint != "" {
		f.Text += "\nHint: " + f.Hint
	}
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	if err := f.send(ctx, s.settings.Notify); err != nil {
		s.progress.printLine("warning: the failure could not be reported to %s: %v", redactQuery(s.settings.Notify), err)
		return false
	}
	return true
}

// checkNotify returns an error unless a text says how to reach somebody.
func checkNotify(to string) error {
	u, err := url.Parse(to)
	if err != nil || !(u.Scheme == "mailto" && u.Opaque != "" || (u.Scheme == "https" || u.Scheme == "http") && u.Host != "") {
		return hint.New(fmt.Errorf("--notify %s is neither a webhook nor an address", to), "--notify https://HOST/PATH, or --notify mailto:you@example.com")
	}
	return nil
}

// redactQuery returns a webhook's URL without what may be secret.
func redactQuery(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Host == "" {
		return to
	}
	return u.Scheme + "://" + u.Host + "/…"
}

func (f failure) send(ctx context.Context, to string) error {
	if address, isMail := strings.CutPrefix(to, "mailto:"); isMail {
		return f.mail(ctx, address)
	}
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err // without the URL
		}
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		return fmt.Errorf("it answers %s", answer.Status)
	}
	return nil
}

// mail sends a mail by the machine's own program.
func (f failure) mail(ctx context.Context, address string) error {
	program, err := exec.LookPath("sendmail")
	if err != nil {
		if program = "/usr/sbin/sendmail"; !isExecutable(program) {
			return errors.New("this machine has no sendmail")
		}
	}
	subject, _, _ := strings.Cut(f.Text, "\n")
	cmd := exec.CommandContext(ctx, program, "-t", "-oi")
	cmd.Stdin = strings.NewReader(fmt.Sprintf("To: %s\nSubject: %s\nContent-Type: text/plain; charset=utf-8\n\n%s\n", address, subject, f.Text))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sendmail: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

func isExecutable(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// wasNotified reports whether the operator was notified of a failure of a command a short time ago.
func (s *session) wasNotified(command string) bool {
	info, err := os.Stat(s.notifiedFile(command))
	return err == nil && time.Since(info.ModTime()) < quietTime
}

func (s *session) rememberNotified(command string) {
	name := s.notifiedFile(command)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err == nil {
		_ = os.WriteFile(name, nil, 0o600) // else the next minute notifies again
	}
}

// notifiedFile returns the file whose time is that of the last notification. Without a home directory, there is none: then each failure is reported.
func (s *session) notifiedFile(command string) string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	key := sha256.Sum256([]byte(s.projectName() + "\x00" + command))
	return filepath.Join(cache, "edge", "notified-"+hex.EncodeToString(key[:8]))
}
