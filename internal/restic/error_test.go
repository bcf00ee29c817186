package restic

import (
	"strings"
	"testing"
)

// TestTheCauseOfALockThatCannotBeWrittenIsFound: restic names the lock first.
func TestTheCauseOfALockThatCannotBeWrittenIsFound(t *testing.T) {
	for text, want := range map[string]Kind{
		"unable to create lock in backend: repository is already locked exclusively by PID 7 on host": Locked,
		"Fatal: unable to create lock in backend: open /r/locks/x: no space left on device":           DiskFull,
		"Fatal: unable to create lock in backend: open /r/locks/x: read-only file system":             Other,
	} {
		if got := kindOf(text); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

func TestTracesAreNoPartOfAMessage(t *testing.T) {
	const text = "Save(<lock/1>) failed\nwrite /r/tmp: no space left on device\ngithub.com/restic/restic/internal/backend/local.(*Local).Save\n\tgithub.com/restic/restic/local.go:184\nruntime.goexit\n\truntime/asm_amd64.s:1594\nunable to create lock in backend\n"
	if got := lastLines(text); got != "Save(<lock/1>) failed; write /r/tmp: no space left on device; unable to create lock in backend" {
		t.Errorf("got %q", got)
	}
}

// TestAServerThatIsDownIsNamed, with what to do, and without what restic says of each of its attempts.
func TestAServerThatIsDownIsNamed(t *testing.T) {
	const text = `Load(<config/0000000000>, 0, 0) returned error, retrying after 5.6s: Get "http://127.0.0.1:9/b/config": dial tcp 127.0.0.1:9: connect: connection refused
Fatal: unable to open config file: Get "http://127.0.0.1:9/b/config": dial tcp 127.0.0.1:9: connect: connection refused
Is there a repository at the following location?`
	err := &Error{Kind: kindOf(text), Stderr: lastLines(text)}
	if err.Kind != Unreachable || !strings.Contains(err.Hint(), "does not answer") || strings.Contains(err.Stderr, "retrying") || !strings.Contains(err.Stderr, "connection refused") {
		t.Errorf("kind %d, %q, hint %q", err.Kind, err.Stderr, err.Hint())
	}
}
