package pgstore

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

var testKey = bytes.Repeat([]byte{7}, keyLen)

func sealerOf(t *testing.T, keys ...string) *sealer {
	t.Helper()
	s, err := newSealer(keys)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAKeyIsHexadecimalOrBase64(t *testing.T) {
	sealed := sealerOf(t, hex.EncodeToString(testKey)).seal("a", []byte("value"))
	for _, key := range []string{base64.StdEncoding.EncodeToString(testKey), base64.RawURLEncoding.EncodeToString(testKey)} {
		if got, err := sealerOf(t, key).open("a", sealed); err != nil || string(got) != "value" {
			t.Errorf("with the same key in another form: %q %v", got, err)
		}
	}
	for _, key := range []string{"", "123123", strings.Repeat("g", 64), hex.EncodeToString(testKey[1:])} {
		if _, err := newSealer([]string{key}); err == nil || key != "" && strings.Contains(err.Error(), key) {
			t.Errorf("%q is taken, or told: %v", key, err)
		}
	}
}

func TestTheSameValueIsNeverSealedTheSameWay(t *testing.T) {
	s := sealerOf(t, hex.EncodeToString(testKey))
	if bytes.Equal(s.seal("a", []byte("value")), s.seal("a", []byte("value"))) {
		t.Error("two sealed values are equal")
	}
}

// FuzzOpen: what is in the database can be anything, and nothing that was not sealed for a name is opened.
func FuzzOpen(f *testing.F) {
	s, err := newSealer([]string{hex.EncodeToString(testKey)})
	if err != nil {
		f.Fatal(err)
	}
	good := s.seal("a", []byte("value"))
	f.Add("a", good)
	f.Add("b", good)
	f.Add("a", good[:5])
	f.Add("a", []byte{})
	f.Fuzz(func(t *testing.T, name string, sealed []byte) {
		got, err := s.open(name, sealed)
		if err == nil && !(name == "a" && bytes.Equal(sealed, good)) {
			t.Errorf("%q opened %x as %q", name, sealed, got)
		}
		if err != nil && !errors.Is(err, errUnreadable) {
			t.Error(err)
		}
	})
}

func TestAWalkFindsDirectoriesToo(t *testing.T) {
	files := []string{"d/a", "d/b/1", "d/b/c/2"}
	for recursive, want := range map[bool]string{false: "d/a d/b", true: "d/a d/b d/b/1 d/b/c d/b/c/2"} {
		if got := strings.Join(walk("d", files, recursive), " "); got != want {
			t.Errorf("recursive %t: %s, want %s", recursive, got, want)
		}
	}
}
