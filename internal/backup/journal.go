package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
)

// journalFile says how far a restore has come. It is in the project's directory.
const journalFile = compose.RestoreJournal

// phase is how far a restore has come.
type phase string

// The phases. Until the swap, an interrupted restore is undone; from then on, it is continued.
const (
	phaseStaging    phase = "staging"    // containers are stopped; the new content is being written beside the old one
	phaseSwapping   phase = "swapping"   // the new content takes the place of the old one
	phaseChecking   phase = "checking"   // databases and applications start with the new content, and are checked
	phaseCommitting phase = "committing" // the checks have passed; the old content is being removed
	phaseUndoing    phase = "undoing"    // the old content takes its place again
)

// journal is the content of journalFile.
type journal struct {
	Sets       map[string]string  `json:"sets"` // application → ID of its set
	Start      time.Time          `json:"start"`
	Phase      phase              `json:"phase"`
	From       string             `json:"from,omitempty"` // the project of the sets, if it is another one
	Queues     bool               `json:"queues"`
	Logical    bool               `json:"logical"`
	At         time.Time          `json:"at,omitzero"`
	Containers []journalContainer `json:"containers"` // that were stopped, in the order in which they stop
	Targets    []journalTarget    `json:"targets"`
	Closed     []string           `json:"closed,omitempty"` // services that the restore has put into maintenance

	file string
}

// journalContainer is a container that a restore stops. Its name stays when Compose recreates it.
type journalContainer struct {
	Name       string `json:"name"`
	Service    string `json:"service"`
	Policy     string `json:"policy"`      // its restart policy, as docker update takes it
	WasRunning bool   `json:"was_running"` // it is started again if the restore is undone
	// ShouldStart says that it is started with the new content: if it was running, and on a new host.
	ShouldStart bool `json:"should_start"`
	IsDatabase  bool `json:"is_database"` // it starts before the checks; applications start after them, because they write
}

// journalTarget is a directory whose content is replaced.
type journalTarget struct {
	Mount     mount  `json:"mount"`     // the volume that has it
	Directory string `json:"directory"` // its path where the volume is mounted
}

// mount is a volume, or a directory of this machine, that a container mounts.
type mount struct {
	Type   string `json:"type"`   // volume or bind
	Source string `json:"source"` // the volume's name, or the directory's path
	Target string `json:"target"`
}

// option returns the mount as an option of `docker run`. A directory of this machine that does not exist is created, as on a new host.
func (m mount) option() string {
	if m.Type == "bind" && !strings.ContainsRune(m.Source+m.Target, ':') {
		return "--volume=" + m.Source + ":" + m.Target
	}
	return "--mount=type=" + m.Type + ",source=" + m.Source + ",target=" + m.Target
}

// readJournal returns the journal of an interrupted restore; nil if there is none.
func readJournal(directory string) (*journal, error) {
	file := filepath.Join(directory, journalFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	j := &journal{file: file}
	if err := json.Unmarshal(text, j); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return j, nil
}

// enter writes the journal with a new phase, so that it survives a power cut.
func (j *journal) enter(p phase) error {
	j.Phase = p
	text, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(j.file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(j.file+".new", j.file); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(j.file))
}

// setNames returns the sets and their applications, such as "20261126-183219-6nxp (bigcapital, corteza)".
func (j *journal) setNames() string {
	apps := make(map[string][]string)
	for _, app := range sortedKeys(j.Sets) {
		apps[j.Sets[app]] = append(apps[j.Sets[app]], app)
	}
	var names []string
	for _, set := range sortedKeys(apps) {
		names = append(names, set+" ("+strings.Join(apps[set], ", ")+")")
	}
	return strings.Join(names, ", ")
}

// remove ends the restore.
func (j *journal) remove() error {
	return errors.Join(os.Remove(j.file), syncDirectory(filepath.Dir(j.file)))
}

func syncDirectory(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
