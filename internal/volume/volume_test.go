package volume

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newVolume returns a volume with old content.
func newVolume(t *testing.T) *Volume {
	t.Helper()
	v := &Volume{Dir: t.TempDir()}
	for name, text := range oldContent {
		write(t, filepath.Join(v.Dir, name), text)
	}
	return v
}

var (
	oldContent = map[string]string{"a": "old a", "dir/b": "old b", "only-old": "x", ".hidden": "y"}
	newContent = map[string]string{"a": "new a", "dir/b": "new b", "dir/c": "new c", ".hidden": "z"}
)

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// stage stages the new content.
func stage(t *testing.T, v *Volume) {
	t.Helper()
	if err := v.Begin(); err != nil {
		t.Fatal(err)
	}
	for name, text := range newContent {
		write(t, filepath.Join(v.StagedDir(), name), text)
	}
}

// content returns the files in a directory, without this package's own.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && name != dir && strings.HasPrefix(entry.Name(), prefix) {
			return fs.SkipDir
		}
		if entry.Type().IsRegular() && !strings.HasPrefix(entry.Name(), prefix) {
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			relative, _ := filepath.Rel(dir, name)
			all[relative] = string(text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func expectContent(t *testing.T, v *Volume, want map[string]string) {
	t.Helper()
	if got := content(t, v.Dir); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// expectClean fails the test if anything of this package's is left.
func expectClean(t *testing.T, v *Volume) {
	t.Helper()
	entries, err := os.ReadDir(v.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), prefix) {
			t.Errorf("%s is left", entry.Name())
		}
	}
}

func TestContentIsReplacedAndCommitted(t *testing.T) {
	v := newVolume(t)
	stage(t, v)
	expectContent(t, v, oldContent)
	if err := v.Swap(); err != nil {
		t.Fatal(err)
	}
	expectContent(t, v, newContent)
	if err := v.Swap(); err != nil {
		t.Errorf("swapped twice: %v", err)
	}
	for range 2 {
		if err := v.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	expectContent(t, v, newContent)
	expectClean(t, v)
}

func TestASwapIsUndone(t *testing.T) {
	v := newVolume(t)
	stage(t, v)
	if err := v.Swap(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := v.Undo(); err != nil {
			t.Fatal(err)
		}
	}
	expectContent(t, v, oldContent)
	expectClean(t, v)
}

var errCrash = errors.New("crash")

// crashAt runs an operation that ends before its n-th step, and reports whether it has that many.
func crashAt(t *testing.T, v *Volume, n int, operation func() error) bool {
	t.Helper()
	steps := 0
	v.beforeStep = func(string) error {
		if steps++; steps > n {
			return errCrash
		}
		return nil
	}
	err := operation()
	v.beforeStep = nil
	if err != nil && !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	return err != nil
}

// TestEveryInterruptionIsResumedOrUndone ends each operation before each of its steps, and then does what the next call would.
func TestEveryInterruptionIsResumedOrUndone(t *testing.T) {
	type next struct {
		name string
		call func(v *Volume) error
		want map[string]string
	}
	swapAndCommit := next{"resumed", func(v *Volume) error { return errors.Join(v.Swap(), v.Commit()) }, newContent}
	undo := next{"undone", (*Volume).Undo, oldContent}
	for _, c := range []struct {
		name      string
		prepare   func(v *Volume) error
		operation func(v *Volume) error
		nexts     []next
	}{
		{"begin", nil, (*Volume).Begin, []next{undo}},
		{"swap", nil, (*Volume).Swap, []next{swapAndCommit, undo}},
		{"undo", (*Volume).Swap, (*Volume).Undo, []next{undo}},
		{"undo of a half", func(v *Volume) error {
			if !crashAt(t, v, 6, v.Swap) {
				t.Error("the swap has fewer steps")
			}
			return nil
		}, (*Volume).Undo, []next{undo}},
		{"commit", (*Volume).Swap, (*Volume).Commit, []next{{"resumed", (*Volume).Commit, newContent}}},
	} {
		for _, then := range c.nexts {
			isInterrupted, n := true, 0
			for ; isInterrupted; n++ {
				v := newVolume(t)
				stage(t, v)
				if c.prepare != nil {
					if err := c.prepare(v); err != nil {
						t.Fatal(err)
					}
				}
				isInterrupted = crashAt(t, v, n, func() error { return c.operation(v) })
				if !isInterrupted && c.name == "swap" && then.name == "undone" {
					expectContent(t, v, newContent)
				}
				if err := then.call(v); err != nil {
					t.Fatalf("%s, ended before step %d, %s: %v", c.name, n+1, then.name, err)
				}
				expectContent(t, v, then.want)
				expectClean(t, v)
			}
			t.Logf("%s, %s: %d interruptions", c.name, then.name, n-1)
		}
	}
}

func TestAnotherRestoreIsRefusedUntilTheFirstIsFinished(t *testing.T) {
	v := newVolume(t)
	if err := v.Swap(); err == nil || !strings.Contains(err.Error(), "nothing is staged") {
		t.Errorf("swap: %v", err)
	}
	if err := v.Undo(); err != nil {
		t.Errorf("undo: %v", err)
	}
	stage(t, v)
	write(t, filepath.Join(v.StagedDir(), "leftover"), "of an earlier attempt")
	if err := v.Commit(); err == nil {
		t.Error("what is staged alone is committed")
	}
	stage(t, v) // anew
	if err := v.Swap(); err != nil {
		t.Fatal(err)
	}
	expectContent(t, v, newContent)
	if err := v.Begin(); err == nil || !strings.Contains(err.Error(), "an earlier restore is not finished (swapped)") {
		t.Errorf("begin: %v", err)
	}
	write(t, filepath.Join(v.Dir, journalName), "nonsense")
	for name, operation := range map[string]func() error{"begin": v.Begin, "swap": v.Swap, "undo": v.Undo, "commit": v.Commit} {
		if err := operation(); err == nil || !strings.Contains(err.Error(), `unknown state "nonsense"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// archive returns a tar archive.
func archive(t *testing.T, headers ...*tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		text := h.PAXRecords["TEST.text"]
		h.PAXRecords = nil
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		h.Size = int64(len(text))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func file(name, text string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, ModTime: time.Unix(1e9, 0), PAXRecords: map[string]string{"TEST.text": text}}
}

func TestArchivesAreExtractedWithModesTimesAndLinks(t *testing.T) {
	v := newVolume(t)
	if err := v.Begin(); err != nil {
		t.Fatal(err)
	}
	script := file("./dir/run", "#!/bin/sh")
	script.Mode = 0o4750
	if os.Geteuid() == 0 {
		script.Uid, script.Gid = 1234, 2345
	}
	if err := v.Extract(archive(t,
		&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755, ModTime: time.Unix(5e8, 0)},
		&tar.Header{Typeflag: tar.TypeDir, Name: "./dir/", Mode: 0o500, ModTime: time.Unix(9e8, 0)},
		script, file("./a", "text"), file("./a", "later text"),
		&tar.Header{Typeflag: tar.TypeSymlink, Name: "./link", Linkname: "dir/run"},
		&tar.Header{Typeflag: tar.TypeLink, Name: "./hard", Linkname: "./a"},
		&tar.Header{Typeflag: tar.TypeFifo, Name: "./fifo", Mode: 0o600},
		&tar.Header{Typeflag: tar.TypeChar, Name: "./null", Devmajor: 1, Devminor: 3},
		file("./"+journalName, "of a restore during the backup"),
	)); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(content(t, v.StagedDir())); got != "map[a:later text dir/run:#!/bin/sh hard:later text]" {
		t.Errorf("got %s", got)
	}
	info, err := os.Stat(filepath.Join(v.StagedDir(), "link"))
	if err != nil || info.Mode() != fs.ModeSetuid|0o750 || !info.ModTime().Equal(time.Unix(1e9, 0)) {
		t.Errorf("got %v, %v", info, err)
	}
	if info, err := os.Stat(filepath.Join(v.StagedDir(), "dir")); err != nil || info.Mode().Perm() != 0o500 || !info.ModTime().Equal(time.Unix(9e8, 0)) {
		t.Errorf("dir: %v, %v", info, err)
	}
	if info, err := os.Lstat(filepath.Join(v.StagedDir(), "fifo")); err != nil || info.Mode().Type() != fs.ModeNamedPipe {
		t.Errorf("fifo: %v, %v", info, err)
	}
	if _, err := os.Lstat(filepath.Join(v.StagedDir(), "null")); err == nil {
		t.Error("a device is created")
	}
}

func TestArchivesWriteNothingOutside(t *testing.T) {
	outside := t.TempDir()
	for name, headers := range map[string][]*tar.Header{
		"dots":            {file("../evil", "x")},
		"link to outside": {{Typeflag: tar.TypeSymlink, Name: "out", Linkname: outside}, file("out/evil", "x")},
		"hard link":       {{Typeflag: tar.TypeLink, Name: "passwd", Linkname: "../../etc/passwd"}},
	} {
		v := newVolume(t)
		if err := v.Begin(); err != nil {
			t.Fatal(err)
		}
		if err := v.Extract(archive(t, headers...)); err == nil {
			t.Errorf("%s: extracted", name)
		}
		if found := content(t, outside); len(found) > 0 {
			t.Errorf("%s: wrote %v", name, found)
		}
	}
	v := newVolume(t)
	if err := errors.Join(v.Begin(), v.Extract(archive(t, file("/absolute", "x")))); err != nil {
		t.Error(err)
	}
	if err := v.Extract(strings.NewReader("not an archive, but long enough for a header of one" + strings.Repeat("x", 1000))); err == nil {
		t.Error("what is no archive is extracted")
	}
}
