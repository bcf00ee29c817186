package containerregistry

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// Access is what an account may do. Each kind includes those before it.
type Access string

// The kinds of access.
const (
	Pull  Access = "pull"
	Push  Access = "push"
	Admin Access = "admin" // also delete
)

// ParseAccess returns the kind of access that a text names.
func ParseAccess(text string) (Access, error) {
	switch a := Access(text); a {
	case Pull, Push, Admin:
		return a, nil
	}
	return "", fmt.Errorf("access %q: there are %s, %s and %s", text, Pull, Push, Admin)
}

func (a Access) includes(need Access) bool {
	return a == need || a == Admin || a == Push && need == Pull
}

// accessFor returns the access that a request needs. Whoever may push may cancel an upload.
func accessFor(r *http.Request) Access {
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return Pull
	case r.Method == http.MethodDelete && !uploadPath.MatchString(r.URL.Path):
		return Admin
	}
	return Push
}

// uploadPath matches the path of an upload that has begun: /v2/NAME/blobs/uploads/ID.
var uploadPath = regexp.MustCompile(`/blobs/uploads/[^/]+$`)

// Account is a name with a password.
type Account struct {
	Name         string `json:"name"`
	PasswordHash string `json:"password_hash"` // bcrypt, as `edge hash-password` prints it
	Access       Access `json:"access"`
}

// Validate returns an error that says what to write instead.
func (a *Account) Validate() error {
	if a.Name == "" || strings.ContainsAny(a.Name, ": \t\r\n") {
		return fmt.Errorf("account %q: want a name without spaces and colons", a.Name)
	}
	if _, err := ParseAccess(string(a.Access)); err != nil {
		return fmt.Errorf("account %s: %w", a.Name, err)
	}
	cost, err := bcrypt.Cost([]byte(a.PasswordHash))
	if err != nil {
		return fmt.Errorf("account %s: want the hash of a password, as `edge hash-password` prints it, which begins with $2", a.Name)
	}
	if cost > maxCost {
		return fmt.Errorf("account %s: the cost %d of the hash takes a processor for seconds or more; edge hash-password --bcrypt-cost 10 is enough for a random password", a.Name, cost)
	}
	return nil
}

// cost returns the cost of the hash, each of which doubles the time.
func (a *Account) cost() int {
	cost, _ := bcrypt.Cost([]byte(a.PasswordHash)) // Validate has checked it
	return cost
}

// maxCost is the default of `edge hash-password`.
const maxCost = 14

// maxPasswordLength is how much of a password bcrypt uses.
const maxPasswordLength = 72

func (a *Account) hasPassword(password string) bool {
	if len(password) > maxPasswordLength || strings.ContainsRune(password, 0) {
		return false // bcrypt would take it for another one
	}
	return bcrypt.CompareHashAndPassword([]byte(a.PasswordHash), []byte(password)) == nil
}

// verifiedPasswords has the passwords that were right, so that bcrypt, which is slow on purpose, runs once for each. It has hashes of them with a key that only this process
// knows. There is one for each account, and none of wrong passwords.
type verifiedPasswords struct {
	key    []byte
	mu     *sync.RWMutex
	hashes map[*Account][sha256.Size]byte
}

func newVerifiedPasswords() verifiedPasswords {
	v := verifiedPasswords{key: make([]byte, sha256.Size), mu: new(sync.RWMutex), hashes: make(map[*Account][sha256.Size]byte)}
	_, _ = rand.Read(v.key) // it never returns an error
	return v
}

func (v verifiedPasswords) hash(name, password string) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, v.key)
	_, _ = mac.Write([]byte(name + ":" + password)) // a name has no colon
	mac.Sum(sum[:0])
	return sum
}

// find returns the account with a name and a verified password, or nil.
func (v verifiedPasswords) find(name, password string) *Account {
	sum := v.hash(name, password)
	v.mu.RLock()
	defer v.mu.RUnlock()
	for account, verified := range v.hashes {
		if hmac.Equal(verified[:], sum[:]) {
			return account
		}
	}
	return nil
}

func (v verifiedPasswords) add(name, password string, account *Account) {
	sum := v.hash(name, password)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.hashes[account] = sum
}
