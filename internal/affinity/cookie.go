package affinity

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"

	"github.com/theworklabs/edge/internal/registry"
)

// cookies are the cookies that name the endpoints of one service. The value of a cookie is a keyed hash of the endpoint's
// identity (HMAC-SHA256, RFC 2104): clients can't forge it, and it does not reveal the container's address.
type cookies struct {
	name    string
	key     func() []byte
	service *registry.Service

	mu      sync.RWMutex
	version uint64 // of the identities in the maps below
	byValue map[string]string
	byID    map[string]string
}

func newCookies(service *registry.Service, key func() []byte) *cookies {
	return &cookies{name: cookieName(service.Names()[0].String()), key: key, service: service}
}

// cookieName returns the name of a service's cookie: "edge_bigcapital-server_3000" for "bigcapital-server:3000". A service of several
// names has the cookie of the first, so that it keeps its cookie when it gets another name.
func cookieName(name string) string {
	return "edge_" + strings.Map(func(r rune) rune {
		if r == ':' || r == '/' || r > '~' { // not allowed in a cookie name (RFC 6265 section 4.1.1)
			return '_'
		}
		return r
	}, name)
}

// endpoint returns the identity of the endpoint that a request's cookie names; "" without a cookie. isKnown is false if the
// cookie names an endpoint that was removed, or is not there yet.
func (c *cookies) endpoint(r *http.Request) (id string, isKnown bool) {
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
	id, isKnown = c.byValue[cookie.Value]
	return id, isKnown
}

// value returns the cookie value of an endpoint; "" if it was removed.
func (c *cookies) value(id string) string {
	c.refresh()
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byID[id]
}

// refresh computes the values again if the endpoints have changed.
func (c *cookies) refresh() {
	version := c.service.IdentitiesVersion()
	c.mu.RLock()
	isFresh := c.byValue != nil && c.version == version
	c.mu.RUnlock()
	if isFresh {
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
	const bytes = 18 // 24 characters in base64, too many to guess
	mac := hmac.New(sha256.New, c.key())
	mac.Write([]byte(c.service.Name()))
	mac.Write([]byte{0})
	mac.Write([]byte(id))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:bytes])
}

// set adds the cookie that names an endpoint. It lasts until the browser is closed.
func (c *cookies) set(h http.Header, id string, secure bool) {
	value := c.value(id)
	if value == "" {
		return // the endpoint was removed
	}
	cookie := http.Cookie{Name: c.name, Value: value, Path: "/", HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode}
	h.Add("Set-Cookie", cookie.String())
}
