package pgstorage

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
)

const (
	keyLen        = 32 // AES-256
	keyIDLen      = 4
	formatVersion = 1
)

// errUnreadable reports a value that no key decrypts.
var errUnreadable = errors.New("the value is damaged, or encrypted with a key that is not configured; `key` takes older keys after the first")

// sealer encrypts values with AES-256-GCM. The name of a value is authenticated with it, so that an attacker who can write to the
// database can't replace one value by another.
//
// A sealed value is the format version (one byte), the ID of the key (the first four bytes of its SHA-256), the nonce and the
// ciphertext.
type sealer struct {
	primary [keyIDLen]byte // the ID of the key that encrypts
	keys    map[[keyIDLen]byte]cipher.AEAD
}

func newSealer(texts []string) (*sealer, error) {
	if len(texts) == 0 {
		return nil, errors.New("key: want at least one; create it with: openssl rand -hex 32")
	}
	s := &sealer{keys: make(map[[keyIDLen]byte]cipher.AEAD)}
	for i, text := range texts {
		key, err := parseKey(text)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(key)
		id := [keyIDLen]byte(sum[:keyIDLen])
		if _, duplicate := s.keys[id]; duplicate {
			return nil, fmt.Errorf("key %d: it is listed twice", i+1)
		}
		if i == 0 {
			s.primary = id
		}
		s.keys[id] = aead
	}
	return s, nil
}

// parseKey decodes a key. Its errors do not contain the key.
func parseKey(text string) ([]byte, error) {
	if key, err := hex.DecodeString(text); err == nil && len(key) == keyLen {
		return key, nil
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawURLEncoding} {
		if key, err := encoding.DecodeString(text); err == nil && len(key) == keyLen {
			return key, nil
		}
	}
	return nil, fmt.Errorf("want 32 bytes in hexadecimal or base64, got %d characters; create one with: openssl rand -hex 32", len(text))
}

// prefix returns the first bytes of every value that seal returns.
func (s *sealer) prefix() []byte { return append([]byte{formatVersion}, s.primary[:]...) }

// seal encrypts the value of a name.
func (s *sealer) seal(name string, value []byte) []byte {
	return s.keys[s.primary].Seal(s.prefix(), nil, value, []byte(name))
}

// open decrypts a value that was sealed under the name. Its error wraps errUnreadable.
func (s *sealer) open(name string, sealed []byte) ([]byte, error) {
	if len(sealed) < 1+keyIDLen || sealed[0] != formatVersion {
		return nil, fmt.Errorf("%s: %w", name, errUnreadable)
	}
	aead, found := s.keys[[keyIDLen]byte(sealed[1:1+keyIDLen])]
	if !found {
		return nil, fmt.Errorf("%s: %w", name, errUnreadable)
	}
	value, err := aead.Open(nil, nil, sealed[1+keyIDLen:], []byte(name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, errUnreadable)
	}
	return value, nil
}
