package ratelimit

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/internal/ratelimit"
)

// Zone is one limit: what it counts by, how much of it is allowed, and for whom it doesn't hold.
//
// It is a token bucket for each key: `burst` requests at once, and `events` more in the course of each `window`.
type Zone struct {
	// What metrics, logs and header fields call it. Zones of the same name and size count together, wherever they are, and
	// go on counting through reloads.
	Name string `json:"name"`

	// What requests are counted by, together: `client_ip`, `host`, and `header:NAME`. Requests without the header share one
	// count. Default: `client_ip`.
	Key []string `json:"key,omitempty"`

	// How many requests a key may make in the course of a window.
	Events int `json:"events"`

	// The window.
	Window caddy.Duration `json:"window"`

	// How many requests a key may make at once, when it has made none for long enough. Default: `events`.
	Burst int `json:"burst,omitempty"`

	// Clients that are not counted: addresses, ranges, or `private_ranges`.
	Allow []string `json:"allow,omitempty"`

	// How many bits of a client's IPv6 address count: providers give each customer at least a /64. Default: 64.
	IPv6Prefix int `json:"ipv6_prefix,omitempty"`

	// Count, log and measure, but refuse nothing.
	DryRun bool `json:"dry_run,omitempty"`

	// For how many keys at a time there is room, 64 to 128 bytes each. Default: 100000.
	MaxKeys int `json:"max_keys,omitempty"`

	rate              ratelimit.Rate
	maxKeys           int // in keys
	ipv6Bits          int // in bits
	keyParts          []keyPart
	allow             []netip.Prefix
	state             *zoneState // of a zone that is given back, too: requests may be under way
	acquired          bool       // whether the pool counts this zone as a user of them
	configKey         any        // which configuration it is of
	policyHeader      []string   // RateLimit-Policy
	limitHeaderPrefix string     // the beginning of RateLimit
}

const (
	defaultMaxKeys    = 100_000
	maxKeysLimit      = 100_000_000
	defaultIPv6Prefix = 64
)

// parse fills in the defaults and reads what is text.
func (z *Zone) parse() error {
	if !isValidName(z.Name) {
		return fmt.Errorf("rate_limit: zone %q: want a name of letters, digits, - and _", z.Name)
	}
	z.rate = ratelimit.Rate{Events: z.Events, Window: time.Duration(z.Window), Burst: cmp.Or(z.Burst, z.Events)}
	z.ipv6Bits, z.maxKeys = cmp.Or(z.IPv6Prefix, defaultIPv6Prefix), cmp.Or(z.MaxKeys, defaultMaxKeys)
	err := z.rate.Validate()
	switch {
	case err != nil:
	case z.ipv6Bits < 1 || z.ipv6Bits > 128:
		err = errors.New("ipv6_prefix: want 1 to 128 bits")
	case z.maxKeys < 1 || z.maxKeys > maxKeysLimit:
		err = fmt.Errorf("max_keys: want 1 to %d", maxKeysLimit)
	default:
		err = errors.Join(z.parseKey(), z.parseAllow())
	}
	if err != nil {
		return fmt.Errorf("rate_limit: zone %s: %w", z.Name, err)
	}
	return nil
}

// isValidName reports whether a name fits into a metric's label, a log and a structured header field (RFC 9651).
func isValidName(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

func (z *Zone) parseAllow() error {
	z.allow = nil
	for _, text := range z.Allow {
		texts := []string{text}
		if text == "private_ranges" {
			texts = caddyhttp.PrivateRangesCIDR()
		}
		for _, text := range texts {
			prefix, err := caddyhttp.CIDRExpressionToPrefix(text)
			if err != nil {
				return fmt.Errorf("allow %q: want an address, a range such as 192.0.2.0/24, or private_ranges", text)
			}
			if prefix.Addr().Is4In6() { // as clients' addresses are compared
				if prefix.Bits() < 96 {
					return fmt.Errorf("allow %q: want it as a range of IPv4 or of IPv6", text)
				}
				prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
			}
			z.allow = append(z.allow, prefix.Masked())
		}
	}
	return nil
}

// provision takes what the zone has counted; config is the same for all zones of a configuration, and of no other.
func (z *Zone) provision(config any) error {
	if err := z.parse(); err != nil {
		return err
	}
	z.policyHeader = []string{fmt.Sprintf(`"%s";q=%d;w=%d`, z.Name, z.rate.Burst, ceilSeconds(z.refillTime()))}
	z.limitHeaderPrefix = `"` + z.Name + `";r=`
	var err error
	if z.state, err = acquireState(z.poolKey(), z.Name, z.maxKeys); err != nil {
		return err
	}
	z.acquired, z.configKey = true, config
	if other, same := z.state.addRate(config, z.rate); !same {
		return fmt.Errorf("rate_limit: zone %s: it is %d in %s with a burst of %d elsewhere in the configuration; zones of one name count together, and have one rate: give this one another name",
			z.Name, other.Events, other.Window, other.Burst)
	}
	return nil
}

// refillTime is how long an empty bucket takes to be full: the window in which the draft's quota, the burst, is available.
func (z *Zone) refillTime() time.Duration {
	return time.Duration(z.rate.Burst) * (z.rate.Window / time.Duration(z.rate.Events))
}

// release gives the counts back. Caddy does so while requests are still on their way through the handler.
func (z *Zone) release() error {
	if !z.acquired {
		return nil // it was never provisioned
	}
	z.acquired = false
	z.state.removeRate(z.configKey)
	_, err := zoneStates.Delete(z.poolKey())
	return err
}

// poolKey tells apart what can't count together.
func (z *Zone) poolKey() string { return z.Name + " " + strconv.Itoa(z.maxKeys) }

// isExempt reports whether the client's requests don't count.
func (z *Zone) isExempt(r *http.Request) bool {
	if len(z.allow) == 0 {
		return false
	}
	addr, err := netip.ParseAddr(clientIP(r))
	if err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	for _, p := range z.allow {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// clientIP returns the client's address as the server has found it, which looks at trusted proxies only.
func clientIP(r *http.Request) string {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return ip
}
