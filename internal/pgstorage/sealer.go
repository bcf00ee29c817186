package pgstorage

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
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

// errUnreadable is a value that none of the keys opens.
var errUnreadable = errors.New("it is encrypted with a key that is not among ours, or damaged; see to `key`, which takes older keys after the first")

// sealer encrypts values with AES-256-GCM. The name of a value is authenticated with it, so that whoever can write to the
// database can't pass one value off as another.
//
// A sealed value is a byte for the format, the first four bytes of the key's SHA-256, the nonce and the ciphertext.
type sealer struct {
	primary [keyIDLen]byte
	keys    map[[keyIDLen]byte]cipher.AEAD
}

func newSealer(texts []string) (*sealer, error) {
	if len(texts) == 0 {
		return nil, errors.New("key: want one; make it with: openssl rand -hex 32")
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
		if _, twice := s.keys[id]; twice {
			return nil, fmt.Errorf("key %d: it is there twice", i+1)
		}
		if i == 0 {
			s.primary = id
		}
		s.keys[id] = aead
	}
	return s, nil
}

// parseKey never says what the key is.
func parseKey(text string) ([]byte, error) {
	if key, err := hex.DecodeString(text); err == nil && len(key) == keyLen {
		return key, nil
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawURLEncoding} {
		if key, err := encoding.DecodeString(text); err == nil && len(key) == keyLen {
			return key, nil
		}
	}
	return nil, fmt.Errorf("want 32 bytes in hexadecimal or base64, got %d characters; make one with: openssl rand -hex 32", len(text))
}

// prefix is how everything begins that is sealed now.
func (s *sealer) prefix() []byte { return append([]byte{formatVersion}, s.primary[:]...) }

func (s *sealer) seal(name string, value []byte) []byte {
	return s.keys[s.primary].Seal(s.prefix(), nil, value, []byte(name))
}

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

// newHolderID is a name for a lock's holder that nobody else has.
func newHolderID() string { return rand.Text() }
