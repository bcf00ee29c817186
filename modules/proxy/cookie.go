package proxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"

	"github.com/theworklabs/edge/internal/registry"
)

// cookies name the endpoints of one service to its clients. A cookie's value is a keyed hash of the endpoint's identity
// (HMAC-SHA256, RFC 2104): nobody can make one up, and it tells nobody where a container is.
type cookies struct {
	name    string
	key     func() []byte
	service *registry.Service

	mu      sync.RWMutex
	version uint64 // of the identities that endpoints was made of
	byValue map[string]string
	byID    map[string]string
}

func newCookies(service *registry.Service, key func() []byte) *cookies {
	return &cookies{name: cookieName(service.Name()), key: key, service: service}
}

// cookieName returns what the cookie of a service such as "bigcapital-server:3000" is called.
func cookieName(service string) string {
	return "edge_" + strings.Map(func(r rune) rune {
		if r == ':' || r > '~' { // not in a cookie's name, RFC 6265 section 4.1.1
			return '_'
		}
		return r
	}, service)
}

// endpoint returns the identity that a request's cookie names, and whether that is known: a request without a cookie
// names none, one with the cookie of an endpoint that is gone, or not there yet, is not known.
func (c *cookies) endpoint(r *http.Request) (id string, known bool) {
	if len(r.Header["Cookie"]) == 0 {
		return "", true
	}
	cookie, err := r.Cookie(c.name)
	if err != nil {
		return "", true
	}
	c.refresh()
	c.mu.RLock()
	defer c.mu.RUnlock()
	id, known = c.byValue[cookie.Value]
	return id, known
}

// value returns the value that names an endpoint.
func (c *cookies) value(id string) string {
	c.refresh()
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byID[id]
}

// refresh makes the values of the endpoints that there are now.
func (c *cookies) refresh() {
	version := c.service.IdentitiesVersion()
	c.mu.RLock()
	fresh := c.byValue != nil && c.version == version
	c.mu.RUnlock()
	if fresh {
		return
	}
	ids, version := c.service.Identities()
	byValue, byID := make(map[string]string, len(ids)), make(map[string]string, len(ids))
	for _, id := range ids {
		value := c.sign(id)
		byValue[value], byID[id] = id, value
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version, c.byValue, c.byID = version, byValue, byID
}

func (c *cookies) sign(id string) string {
	const bytes = 18 // 24 characters, and more than can be guessed
	mac := hmac.New(sha256.New, c.key())
	mac.Write([]byte(c.service.Name()))
	mac.Write([]byte{0})
	mac.Write([]byte(id))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:bytes])
}

// set has the client come back to an endpoint, until it closes its browser or the endpoint is gone.
func (c *cookies) set(h http.Header, id string, secure bool) {
	value := c.value(id)
	if value == "" {
		return // it is gone already
	}
	cookie := http.Cookie{Name: c.name, Value: value, Path: "/", HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode}
	h.Add("Set-Cookie", cookie.String())
}
