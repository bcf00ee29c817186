package harness

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/crypto/scrypt"
)

// resticKey is a file in the directory keys of a repository. Of its values, only these change; the format is in restic's "References", chapter "Keys, Encryption and MAC".
type resticKey struct {
	Created  string `json:"created"`
	Username string `json:"username"`
	Hostname string `json:"hostname"`
	KDF      string `json:"kdf"`
	N        int    `json:"N"`
	R        int    `json:"r"`
	P        int    `json:"p"`
	Salt     []byte `json:"salt"`
	Data     []byte `json:"data"` // the repository's own key: nonce, ciphertext, MAC
}

// CheapenResticKeys makes the keys of a repository in a directory cheap: restic chooses the cost of each so that it takes half a second to open the repository, and tests open it hundreds of
// times. What the keys open stays the same, and so do the passwords. It returns the new IDs of the keys, by password.
func CheapenResticKeys(repository string, passwords ...string) (ids map[string]string, err error) {
	dir := filepath.Join(repository, "keys")
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	ids = make(map[string]string)
	for _, f := range files {
		name := filepath.Join(dir, f.Name())
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var key resticKey
		if err := json.Unmarshal(text, &key); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		i := slices.IndexFunc(passwords, func(password string) bool { return key.cheapen(password) == nil })
		if i < 0 {
			return nil, fmt.Errorf("%s: none of the passwords opens it", name)
		}
		if text, err = json.Marshal(key); err != nil {
			return nil, err
		}
		hash := sha256.Sum256(text)
		id := hex.EncodeToString(hash[:])
		if err := errors.Join(os.WriteFile(filepath.Join(dir, id), text, 0o600), os.Remove(name)); err != nil {
			return nil, err
		}
		ids[passwords[i]] = id
	}
	return ids, nil
}

// cheapen encrypts what the key has with one that costs nothing.
func (k *resticKey) cheapen(password string) error {
	old, err := k.derive(password)
	if err != nil {
		return err
	}
	if len(k.Data) < 2*aes.BlockSize {
		return errors.New("the key is too short")
	}
	nonce, rest := k.Data[:aes.BlockSize], k.Data[aes.BlockSize:]
	sealed, mac := rest[:len(rest)-aes.BlockSize], rest[len(rest)-aes.BlockSize:]
	if subtle.ConstantTimeCompare(mac, old.mac(nonce, sealed)) != 1 {
		return errors.New("wrong password")
	}
	plain := old.crypt(nonce, sealed)
	k.N, k.R, k.P = 2, 1, 1
	cheap, err := k.derive(password)
	if err != nil {
		return err
	}
	sealed = cheap.crypt(nonce, plain)
	k.Data = slices.Concat(nonce, sealed, cheap.mac(nonce, sealed))
	return nil
}

// derivedKey is what a password is turned into: 32 bytes for AES-256-CTR, then 16 for AES and 16 for Poly1305, which make the MAC.
type derivedKey []byte

func (k *resticKey) derive(password string) (derivedKey, error) {
	return scrypt.Key([]byte(password), k.Salt, k.N, k.R, k.P, 64)
}

func (k derivedKey) crypt(nonce, text []byte) []byte {
	out := make([]byte, len(text))
	cipher.NewCTR(newAES(k[:32]), nonce).XORKeyStream(out, text)
	return out
}

// mac is Poly1305-AES (https://cr.yp.to/mac/poly1305-20050329.pdf, section 2).
func (k derivedKey) mac(nonce, text []byte) []byte {
	littleEndian := func(b []byte) *big.Int {
		b = slices.Clone(b)
		slices.Reverse(b)
		return new(big.Int).SetBytes(b)
	}
	r := slices.Clone(k[48:64])
	for _, i := range []int{3, 7, 11, 15} {
		r[i] &= 15
	}
	for _, i := range []int{4, 8, 12} {
		r[i] &= 252
	}
	prime := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 130), big.NewInt(5))
	sum, factor := new(big.Int), littleEndian(r)
	for block := range slices.Chunk(text, 16) {
		sum.Add(sum, littleEndian(append(slices.Clone(block), 1)))
		sum.Mul(sum, factor).Mod(sum, prime)
	}
	pad := make([]byte, aes.BlockSize)
	newAES(k[32:48]).Encrypt(pad, nonce)
	sum.Add(sum, littleEndian(pad))
	tag := sum.FillBytes(make([]byte, 32))[16:]
	slices.Reverse(tag)
	return tag
}

func newAES(key []byte) cipher.Block {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the length is right
	}
	return block
}
