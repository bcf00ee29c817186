package pgstorage

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

var testKey = bytes.Repeat([]byte{7}, keyLen)

func newTestSealer(t *testing.T, keys ...string) *sealer {
	t.Helper()
	s, err := newSealer(keys)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAKeyIsHexadecimalOrBase64(t *testing.T) {
	stored := newTestSealer(t, hex.EncodeToString(testKey)).seal("a", []byte("value"))
	for _, key := range []string{base64.StdEncoding.EncodeToString(testKey), base64.RawURLEncoding.EncodeToString(testKey)} {
		if got, err := newTestSealer(t, key).open("a", stored); err != nil || string(got) != "value" {
			t.Errorf("with the same key in another form: %q %v", got, err)
		}
	}
	for _, key := range []string{"", "123123", strings.Repeat("g", 64), hex.EncodeToString(testKey[1:])} {
		if _, err := newSealer([]string{key}); err == nil || key != "" && strings.Contains(err.Error(), key) {
			t.Errorf("%q is taken, or told: %v", key, err)
		}
	}
}

func TestSealingIsRandomized(t *testing.T) {
	s := newTestSealer(t, hex.EncodeToString(testKey))
	if bytes.Equal(s.seal("a", []byte("value")), s.seal("a", []byte("value"))) {
		t.Error("two sealed values are equal")
	}
}

// sealedValue is "value" as an earlier Edge sealed it with testKey under the name "a".
const sealedValue = "014bb06f8e69cc28dfd993bded925e34e6310eea8f334b80cc7a018e0fc71d97ff13bc0118b9"

func TestValuesOfEarlierVersionsAreRead(t *testing.T) {
	stored, err := hex.DecodeString(sealedValue)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := newTestSealer(t, hex.EncodeToString(testKey)).open("a", stored); err != nil || string(got) != "value" {
		t.Errorf("%q %v", got, err)
	}
}

// FuzzSealerOpen: what is in the database can be anything, and nothing that was not sealed for a name is opened. The one good
// value is a constant because each worker of the fuzzer is a process of its own, that would seal it differently.
func FuzzSealerOpen(f *testing.F) {
	s, err := newSealer([]string{hex.EncodeToString(testKey)})
	if err != nil {
		f.Fatal(err)
	}
	good, err := hex.DecodeString(sealedValue)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("a", good)
	f.Add("b", good)
	f.Add("a", good[:5])
	f.Add("a", []byte{})
	f.Fuzz(func(t *testing.T, name string, stored []byte) {
		got, err := s.open(name, stored)
		if err == nil && !(name == "a" && bytes.Equal(stored, good)) {
			t.Errorf("%q opened %x as %q", name, stored, got)
		}
		if err != nil && !errors.Is(err, errUnreadable) {
			t.Error(err)
		}
	})
}

func TestListDirIncludesDirectories(t *testing.T) {
	files := []string{"d/a", "d/b/1", "d/b/c/2"}
	for recursive, want := range map[bool]string{false: "d/a d/b", true: "d/a d/b d/b/1 d/b/c d/b/c/2"} {
		if got := strings.Join(listDir("d", files, recursive), " "); got != want {
			t.Errorf("recursive %t: %s, want %s", recursive, got, want)
		}
	}
}
