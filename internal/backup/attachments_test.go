package backup

import (
	"archive/tar"
	"bytes"
	"testing"
)

func TestAttachmentsAreFoundInTheirArchive(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{"./", "./compose/", "./compose/12/a.pdf", "./b c.png"} {
		header := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: 1}
		if name[len(name)-1] == '/' {
			header.Typeflag, header.Size = tar.TypeDir, 0
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if header.Size > 0 {
			if _, err := w.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	files := newFileNames()
	tee, wait := files.tee()
	for data := b.Bytes(); len(data) > 0; data = data[min(100, len(data)):] {
		if _, err := tee.Write(data[:min(100, len(data))]); err != nil {
			t.Fatal(err)
		}
	}
	_ = tee.Close()
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"compose/12/a.pdf": true, "/compose/12/a.pdf": true, "12/a.pdf": true, "a.pdf": true, "b c.png": true,
		"compose": false, "compose/12": false, "12/b.pdf": false, "": false,
	} {
		if got := files.has(name); got != want {
			t.Errorf("%q: got %v", name, got)
		}
	}
	if n := files.countMissing([]string{"a.pdf", "gone.pdf", "/12/a.pdf"}); n != 1 {
		t.Errorf("%d are missing, want 1", n)
	}
	tee, wait = newFileNames().tee()
	_, _ = tee.Write(bytes.Repeat([]byte("no archive "), 100))
	_ = tee.Close()
	if wait() == nil {
		t.Error("what is no archive is read")
	}
}
