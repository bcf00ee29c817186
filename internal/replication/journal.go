package replication

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/theworklabs/edge/internal/hint"
)

// journalFile is in the project's directory while a promotion is not finished.
const journalFile = ".edge-promotion"

// promotionJournal is what a promotion that is called again has to know: .env may name the new primary already.
type promotionJournal struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	Closed   []string `json:"closed"`   // what it has put into maintenance
	Compared bool     `json:"compared"` // the replica has what it has to have, and nothing reaches the old primary
	Stopped  bool     `json:"stopped"`  // the databases on the old primary's host were, after that
	Promoted []string `json:"promoted"` // the databases whose promotion has begun

	// What was compared: the time of the watcher's state, and when the replicas were started, by database. If one is another, it has to be compared again.
	StateTime      time.Time            `json:"state_time"`
	ReplicaStarted map[string]time.Time `json:"replica_started"`
}

func (s *Stack) journalPath() string { return filepath.Join(s.directory, journalFile) }

// readJournal returns the journal of a promotion that is not finished; nil if there is none.
func (s *Stack) readJournal() (*promotionJournal, error) {
	return readJSON[promotionJournal](s.journalPath())
}

func (s *Stack) writeJournal(journal *promotionJournal) error {
	text, err := json.Marshal(journal)
	if err != nil {
		return err
	}
	return writeFile(s.journalPath(), append(text, '\n'), 0o600)
}

func (s *Stack) removeJournal() error {
	err := os.Remove(s.journalPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// lock keeps other promotions and rejoins of the project out, until unlock.
func (s *Stack) lock() (unlock func(), err error) {
	f, err := os.Open(s.directory)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, hint.New(errors.Join(errors.New("another edge replica promote or rejoin runs"), f.Close()), "wait until it has ended")
	}
	return func() { _ = f.Close() }, nil
}
