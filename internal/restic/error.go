package restic

import (
	"fmt"
	"net/url"
	"strings"
)

// Kind is a reason for which restic fails.
type Kind int

// The kinds of errors. restic 0.14 exits with 1 for all of them, so they are recognized by its messages.
const (
	Other Kind = iota
	WrongPassword
	NoRepository
	Exists
	Locked
	DiskFull
	Damaged
	Unreachable // the server of the repository does not answer
)

// messages are parts of restic's messages, from 0.14 to 0.18, in the order in which they are looked for.
var messages = []struct {
	text string
	kind Kind
}{
	// Before others: without its server, restic asks whether there is a repository at all.
	{"connection refused", Unreachable},
	{"no such host", Unreachable},
	{"no route to host", Unreachable},
	{"network is unreachable", Unreachable},
	{"i/o timeout", Unreachable},
	{"wrong password or no key found", WrongPassword},
	{"an empty password is not", WrongPassword},
	{"config file already exists", Exists},
	{"config already initialized", Exists},
	{"repository is already locked", Locked},
	{"no space left on device", DiskFull},
	{"disk quota exceeded", DiskFull},
	{"Is there a repository at the following location", NoRepository},
	{"repository does not exist", NoRepository},
	{"unable to open config file", NoRepository},
	{"does not match id", Damaged},
	{"ciphertext verification failed", Damaged},
	{"repository contains errors", Damaged},
}

func kindOf(stderr string) Kind {
	for _, m := range messages {
		if strings.Contains(stderr, m.text) {
			return m.kind
		}
	}
	return Other
}

// Error is a failed command of restic.
type Error struct {
	Command    string // such as backup
	Repository string // its URL
	Kind       Kind
	Stderr     string // the last lines that restic wrote
	Err        error  // the exit status, or why the command was stopped
}

// Error returns what failed, where, and what restic said of it.
func (e *Error) Error() string {
	text := fmt.Sprintf("restic %s in %s: %v", e.Command, RedactURL(e.Repository), e.Err)
	if e.Stderr != "" {
		text += ": " + e.Stderr
	}
	return text
}

// Unwrap returns the exit status, or why the command was stopped.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns the next step, or "".
func (e *Error) Hint() string {
	switch e.Kind {
	case WrongPassword:
		return "the password is in backup.env; the recovery key that `edge backup init` printed opens the repository, too"
	case NoRepository:
		return "`edge backup init` creates it; if it exists, see that the disk is mounted, and that the server and its path are right"
	case Exists:
		return "use it with the password that it has, or name another place"
	case Locked:
		return "another backup, or `restic prune`, is at work; wait for its end"
	case DiskFull:
		return "make space where the repository is, or let it keep fewer sets (x-edge-backup: keep)"
	case Unreachable:
		return "the server of the repository does not answer: see that it runs, and that this machine reaches it"
	case Damaged:
		return "`edge verify` says what is damaged; docs/runbooks.md#drillfailed has how to repair it, or restore from the second repository"
	}
	return ""
}

// RedactURL returns a repository's URL without its password, such as that of rest:https://user:password@host/.
func RedactURL(text string) string {
	prefix, rest, hasPrefix := strings.Cut(text, ":")
	if !hasPrefix || !strings.Contains(rest, "://") {
		return text
	}
	u, err := url.Parse(rest)
	if err != nil || u.User == nil {
		return text
	}
	return prefix + ":" + u.Redacted()
}

// lastLines returns the last lines of a text, as one line. restic wraps its errors in many, and prints where in its code they come from.
func lastLines(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if isTrace := !strings.Contains(line, " ") && strings.ContainsAny(line, "./"); line != "" && !isTrace && !strings.Contains(line, "returned error, retrying after") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-4):], "; ")
}
