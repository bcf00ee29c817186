// Package volume replaces the content of a directory as a whole: the new content is staged in the same directory, which is the root of a
// volume, and then takes the place of the old one by renames. The old content stays until it is committed.
//
// A journal in the directory says how far a replacement has come. Each operation can be interrupted at any time, and then resumed or undone.
package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// prefix is that of all names which this package uses in a directory.
const prefix = ".edge-restore-"

const (
	stagedName  = prefix + "new"
	oldName     = prefix + "old"
	journalName = prefix + "journal"
)

// State says how far the replacement of a directory has come.
type State string

// The states. A directory without a journal has none.
const (
	None      State = ""
	Staging   State = "staging"    // the new content is being written; the old one is in place
	MovingOut State = "moving-out" // the old content is being moved away
	MovingIn  State = "moving-in"  // the new content is being moved to its place
	Swapped   State = "swapped"    // the new content is in place, and the old one is kept
	UndoingIn State = "undoing-in" // the new content is being moved back
	UndoneIn  State = "undoing"    // the old content is being moved back to its place
	Removing  State = "removing"   // the old content is being removed; there is no way back
)

// Volume is a directory whose content is replaced. Only one process may use it at a time.
type Volume struct {
	Dir string

	// beforeStep is called before each change; an error ends the operation there, as a crash would. Tests set it.
	beforeStep func(step string) error
}

// StagedDir returns the directory in which the new content is staged.
func (v *Volume) StagedDir() string { return filepath.Join(v.Dir, stagedName) }

// State returns how far the replacement has come.
func (v *Volume) State() (State, error) {
	text, err := os.ReadFile(filepath.Join(v.Dir, journalName))
	if errors.Is(err, fs.ErrNotExist) {
		return None, nil
	}
	if err != nil {
		return None, err
	}
	switch state := State(strings.TrimSpace(string(text))); state {
	case Staging, MovingOut, MovingIn, Swapped, UndoingIn, UndoneIn, Removing:
		return state, nil
	default:
		return None, fmt.Errorf("%s has the unknown state %q", filepath.Join(v.Dir, journalName), state)
	}
}

// Begin creates an empty directory for the new content, with the owner and the mode of the volume's. It removes what an earlier attempt has
// staged, and fails if one has gone further.
func (v *Volume) Begin() error {
	state, err := v.State()
	if err != nil {
		return err
	}
	if state != None && state != Staging {
		return fmt.Errorf("%s: an earlier restore is not finished (%s)", v.Dir, state)
	}
	info, err := os.Stat(v.Dir)
	if err != nil {
		return err
	}
	if err := v.setState(Staging); err != nil {
		return err
	}
	if err := os.RemoveAll(v.StagedDir()); err != nil {
		return err
	}
	if err := os.Mkdir(v.StagedDir(), 0o700); err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		if err := os.Lchown(v.StagedDir(), int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	return os.Chmod(v.StagedDir(), info.Mode().Perm())
}

// Swap puts the staged content in place of the old one, also if an earlier call was interrupted.
func (v *Volume) Swap() error {
	state, err := v.State()
	if err != nil {
		return err
	}
	switch state {
	case Swapped:
		return nil
	case Staging, MovingOut, MovingIn:
	default:
		return fmt.Errorf("%s: nothing is staged (%s)", v.Dir, stateText(state))
	}
	if state == Staging {
		if err := syncTree(v.StagedDir()); err != nil {
			return err
		}
		if err := v.setState(MovingOut); err != nil {
			return err
		}
		state = MovingOut
	}
	if state == MovingOut {
		if err := v.moveAll(v.Dir, filepath.Join(v.Dir, oldName)); err != nil {
			return err
		}
		if err := v.setState(MovingIn); err != nil {
			return err
		}
	}
	if err := v.moveAll(v.StagedDir(), v.Dir); err != nil {
		return err
	}
	return v.setState(Swapped)
}

// Undo puts the old content in its place again, in every state but [Removing], and removes the new one.
func (v *Volume) Undo() error {
	state, err := v.State()
	if err != nil {
		return err
	}
	switch state {
	case None:
		return nil
	case Removing:
		return fmt.Errorf("%s: the old content is being removed", v.Dir)
	case MovingIn, Swapped:
		if err := v.setState(UndoingIn); err != nil {
			return err
		}
		state = UndoingIn
	}
	if state == UndoingIn {
		if err := v.moveAll(v.Dir, v.StagedDir()); err != nil {
			return err
		}
	}
	if state == UndoingIn || state == MovingOut {
		if err := v.setState(UndoneIn); err != nil {
			return err
		}
		state = UndoneIn
	}
	if state == UndoneIn {
		if err := v.moveAll(filepath.Join(v.Dir, oldName), v.Dir); err != nil {
			return err
		}
	}
	return v.clean()
}

// Commit removes the old content, also if an earlier call was interrupted. The new one has to be in place.
func (v *Volume) Commit() error {
	state, err := v.State()
	if err != nil {
		return err
	}
	switch state {
	case None: // an earlier call has done it
		return nil
	case Swapped:
		if err := v.setState(Removing); err != nil {
			return err
		}
	case Removing:
	default:
		return fmt.Errorf("%s: the new content is not in place (%s)", v.Dir, stateText(state))
	}
	return v.clean()
}

// clean removes everything that this package has created, the journal last.
func (v *Volume) clean() error {
	for _, name := range []string{stagedName, oldName, journalName + ".new", journalName} {
		if err := v.step("remove " + name); err != nil {
			return err
		}
		if err := os.RemoveAll(filepath.Join(v.Dir, name)); err != nil {
			return err
		}
	}
	return syncDir(v.Dir)
}

// moveAll moves all entries of a directory but this package's own to another one, which it creates.
func (v *Volume) moveAll(from, to string) error {
	if err := os.Mkdir(to, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), prefix) {
			continue
		}
		if err := v.step("move " + entry.Name()); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())); err != nil {
			return err
		}
	}
	return errors.Join(syncDir(from), syncDir(to))
}

// setState writes the journal, so that it survives a power cut.
func (v *Volume) setState(state State) error {
	if err := v.step("write " + string(state)); err != nil {
		return err
	}
	name := filepath.Join(v.Dir, journalName)
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(string(state) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	return syncDir(v.Dir)
}

func (v *Volume) step(name string) error {
	if v.beforeStep == nil {
		return nil
	}
	return v.beforeStep(name)
}

func stateText(s State) string {
	if s == None {
		return "no journal"
	}
	return string(s)
}

// syncDir writes the entries of a directory to the disk. It ignores one that does not exist.
func syncDir(name string) error {
	d, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
