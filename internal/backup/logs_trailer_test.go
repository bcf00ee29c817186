package backup

import (
	"archive/tar"
	"bytes"
	"errors"
	"testing"
)

func TestTheBeginningOfAnArchiveHasNoTrailer(t *testing.T) {
	var whole bytes.Buffer
	archive := tar.NewWriter(&whole)
	for _, name := range []string{"shop-db/binlog.000001@4", "crm-db/000000010000000000000001@0"} {
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: 1000}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeTrailer(archive); err != nil {
		t.Fatal(err)
	}
	const block = 512
	endOfTrailer := whole.Len() - 2*block
	for n := range whole.Len() + 1 {
		err := findTrailer(bytes.NewReader(whole.Bytes()[:n]))
		if want := n >= endOfTrailer; (err == nil) != want || err != nil && !errors.Is(err, errNoTrailer) {
			t.Fatalf("the first %d of %d bytes: %v", n, whole.Len(), err)
		}
	}
	if err := findTrailer(bytes.NewReader(bytes.Repeat([]byte("x"), 2*block))); err == nil || errors.Is(err, errNoTrailer) {
		t.Errorf("no archive: %v", err)
	}
}
