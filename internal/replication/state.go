package replication

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// State is what the [Watcher] knows. It keeps it in a file, which others read.
type State struct {
	Time      time.Time                 `json:"time"` // when it was written
	Primary   string                    `json:"primary"`
	Replica   string                    `json:"replica"`
	Policy    Policy                    `json:"without_replica"`
	Epoch     int                       `json:"epoch"` // how often a replica was promoted
	Databases map[string]*DatabaseState `json:"databases"`
}

// DatabaseState is the state of one database on both hosts.
type DatabaseState struct {
	Mode       Mode      `json:"mode"`
	Since      time.Time `json:"since"`            // of the mode
	LastInSync time.Time `json:"last_in_sync"`     // when the replica last had every acknowledged commit; zero: never
	Reason     string    `json:"reason,omitempty"` // why the mode is Alone
	TimesAlone uint64    `json:"times_alone"`      // how often the mode has become Alone
	LastUp     time.Time `json:"last_up"`          // when the primary last responded
	// When the replica that was in sync was started. What it has received since then is there only as long as it runs.
	ReplicaStarted time.Time `json:"replica_started"`

	IsPrimaryUp bool    `json:"primary_up"`
	IsConnected bool    `json:"connected"`    // the replica receives, and confirms
	Waiting     int     `json:"waiting"`      // commits that wait for the replica
	WaitSeconds float64 `json:"wait_seconds"` // the longest that commits have waited for the replica in the last minute
	LagSeconds  float64 `json:"lag_seconds"`
	Problem     string  `json:"problem,omitempty"` // what needs attention now
}

// staleAfter is how old a state may be.
const staleAfter = 30 * time.Second

// IsStale reports whether nothing has been written for too long.
func (s *State) IsStale(now time.Time) bool { return now.Sub(s.Time) > staleAfter }

// Problems returns what needs attention, by database. The key "" is about the watcher.
func (s *State) Problems(now time.Time) map[string]string {
	all := make(map[string]string)
	if s.IsStale(now) {
		all[""] = fmt.Sprintf("nothing is known since %s: does the service replication run?", s.Time.Local().Format(time.DateTime))
	}
	for name, d := range s.Databases {
		switch {
		case d.Mode == Alone && d.Problem != "":
			all[name] = fmt.Sprintf("the primary is alone since %s: %s; %s", d.Since.Local().Format(time.DateTime), d.Reason, d.Problem)
		case d.Mode == Alone:
			all[name] = fmt.Sprintf("the primary is alone since %s: %s", d.Since.Local().Format(time.DateTime), d.Reason)
		case d.Problem != "":
			all[name] = d.Problem
		}
	}
	return all
}

// ReadState reads the file of a state; nil if there is none.
func ReadState(file string) (*State, error) { return readJSON[State](file) }

// ForgetState has the file say nothing of the databases any more. Which promotion was the last one stays known.
func ForgetState(file string) error {
	s, err := ReadState(file)
	if err != nil || s == nil {
		return err
	}
	s.Databases = nil
	return s.write(file)
}

// readJSON reads a file; nil if there is none.
func readJSON[T any](file string) (*T, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	value := new(T)
	if err := json.Unmarshal(text, value); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return value, nil
}

// write replaces the file.
func (s *State) write(file string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return writeFile(file, append(text, '\n'), 0o644)
}

// writeFile replaces the text of a file, or creates it with a mode. It is on the disk afterwards. The owner and the mode stay, and a symbolic link stays one.
func writeFile(file string, text []byte, mode fs.FileMode) (err error) {
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target
	}
	info, err := os.Stat(file)
	if err == nil {
		mode = info.Mode().Perm()
	}
	temporary, err := os.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if info != nil {
		if owner, ok := info.Sys().(*syscall.Stat_t); ok {
			err = temporary.Chown(int(owner.Uid), int(owner.Gid))
		}
	}
	if err == nil {
		_, err = temporary.Write(text)
	}
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	directory, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
