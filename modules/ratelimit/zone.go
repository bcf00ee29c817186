package ratelimit

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/internal/ratelimit"
)

// Zone is one limit: what its key is, how many requests a key may make, and which clients are exempt.
//
// Each key has a token bucket: it may make `burst` requests at once, and `events` more over each `window`.
type Zone struct {
	// The name in metrics, logs and header fields. Zones of the same name and size share their counts, on whichever site they
	// are, and keep them through reloads.
	Name string `json:"name"`

	// What requests are counted by, in combination: `client_ip`, `host`, and `header:NAME`. Requests without the header share one
	// count. Default: `client_ip`.
	Key []string `json:"key,omitempty"`

	// How many requests a key may make over a window.
	Events int `json:"events"`

	// The window.
	Window caddy.Duration `json:"window"`

	// How many requests a key may make at once, if it has made none for long enough. Default: `events`.
	Burst int `json:"burst,omitempty"`

	// Clients that are not counted: addresses, ranges, or `private_ranges`.
	Allow []string `json:"allow,omitempty"`

	// How many bits of a client's IPv6 address are its key: providers give each customer at least a /64. Default: 64.
	IPv6Prefix int `json:"ipv6_prefix,omitempty"`

	// Count, log and measure, but refuse nothing.
	DryRun bool `json:"dry_run,omitempty"`

	// How many keys the zone can hold at a time, at 64 to 128 bytes each. Default: 100000.
	MaxKeys int `json:"max_keys,omitempty"`

	rules             rules
	policyHeader      []string   // the value of RateLimit-Policy
	limitHeaderPrefix string     // the beginning of RateLimit
	state             *zoneState // stays set after release, for requests in flight
	acquired          bool       // the pool counts this zone as a user of the state
	configKey         any        // identifies the configuration that the zone is part of
}

// rules is a zone's configuration in the form that requests need: with its defaults, and parsed.
type rules struct {
	rate    ratelimit.Rate
	maxKeys int
	key     requestKey
	allow   allowList
}

const (
	defaultMaxKeys    = 100_000
	maxKeysLimit      = 100_000_000
	defaultIPv6Prefix = 64
)

// parse returns the zone's rules, or an error if the configuration is invalid.
func (z *Zone) parse() (rules, error) {
	if !isValidName(z.Name) {
		return rules{}, fmt.Errorf("rate_limit: zone %q: want a name of letters, digits, - and _", z.Name)
	}
	parsed := rules{
		rate:    ratelimit.Rate{Events: z.Events, Window: time.Duration(z.Window), Burst: cmp.Or(z.Burst, z.Events)},
		maxKeys: cmp.Or(z.MaxKeys, defaultMaxKeys),
	}
	ipv6Bits := cmp.Or(z.IPv6Prefix, defaultIPv6Prefix)
	err := parsed.rate.Validate()
	switch {
	case err != nil:
	case ipv6Bits < 1 || ipv6Bits > 128:
		err = errors.New("ipv6_prefix: want 1 to 128 bits")
	case parsed.maxKeys < 1 || parsed.maxKeys > maxKeysLimit:
		err = fmt.Errorf("max_keys: want 1 to %d", maxKeysLimit)
	default:
		var keyErr, allowErr error
		parsed.key, keyErr = parseKey(z.Key, ipv6Bits)
		parsed.allow, allowErr = parseAllowList(z.Allow)
		err = errors.Join(keyErr, allowErr)
	}
	if err != nil {
		return rules{}, fmt.Errorf("rate_limit: zone %s: %w", z.Name, err)
	}
	return parsed, nil
}

// isValidName reports whether a name fits into a metric's label, a log and a structured header field (RFC 9651).
func isValidName(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// provision parses the configuration and acquires the zone's state. All zones of one configuration have the same configKey, and
// zones of different configurations have different ones.
func (z *Zone) provision(configKey any) error {
	var err error
	if z.rules, err = z.parse(); err != nil {
		return err
	}
	rate := z.rules.rate
	// The draft's quota is the burst; its window is the time in which an empty bucket gets full.
	refillTime := time.Duration(rate.Burst) * (rate.Window / time.Duration(rate.Events))
	z.policyHeader = []string{fmt.Sprintf(`"%s";q=%d;w=%d`, z.Name, rate.Burst, ceilSeconds(refillTime))}
	z.limitHeaderPrefix = `"` + z.Name + `";r=`
	if z.state, err = acquireState(z.poolKey(), z.Name, z.rules.maxKeys); err != nil {
		return err
	}
	z.acquired, z.configKey = true, configKey
	if other, same := z.state.addRate(configKey, rate); !same {
		return fmt.Errorf("rate_limit: zone %s: elsewhere in the configuration it has the rate %d in %s with a burst of %d; zones of one name share their counts and must have one rate: give this zone another name",
			z.Name, other.Events, other.Window, other.Burst)
	}
	return nil
}

// release gives the state back to the pool. Caddy calls it while requests are still in flight, and these use the state.
func (z *Zone) release() error {
	if !z.acquired {
		return nil // it was never provisioned
	}
	z.acquired = false
	z.state.removeRate(z.configKey)
	_, err := zoneStates.Delete(z.poolKey())
	return err
}

// poolKey identifies the state: zones of different sizes can't share one.
func (z *Zone) poolKey() string { return z.Name + " " + strconv.Itoa(z.rules.maxKeys) }
