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

func TestKeyIsHexadecimalOrBase64(t *testing.T) {
	stored := newTestSealer(t, hex.EncodeToString(testKey)).seal("a", []byte("value"))
	for _, key := range []string{base64.StdEncoding.EncodeToString(testKey), base64.RawURLEncoding.EncodeToString(testKey)} {
		if got, err := newTestSealer(t, key).open("a", stored); err != nil || string(got) != "value" {
			t.Errorf("open with the same key in base64: %q %v", got, err)
		}
	}
	for _, key := range []string{"", "123123", strings.Repeat("g", 64), hex.EncodeToString(testKey[1:])} {
		if _, err := newSealer([]string{key}); err == nil || key != "" && strings.Contains(err.Error(), key) {
			t.Errorf("key %q: error %v, want one that does not contain the key", key, err)
		}
	}
}

func TestSealingIsRandomized(t *testing.T) {
	s := newTestSealer(t, hex.EncodeToString(testKey))
	if bytes.Equal(s.seal("a", []byte("value")), s.seal("a", []byte("value"))) {
		t.Error("sealing the same value twice returns the same bytes")
	}
}

// sealedValue is "value" as an earlier version sealed it with testKey under the name "a".
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

// FuzzSealerOpen: the database may contain anything, and open must reject a value that was not sealed under the name. The one valid
// value is a constant because each worker of the fuzzer is a process of its own and would seal it differently.
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
