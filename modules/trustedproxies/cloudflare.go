package trustedproxies

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/hint"
	"github.com/theworklabs/edge/internal/stored"
)

// CloudflareListDate is the day on which Cloudflare last changed the list below: cloudflare.com/ips. The list changes every few
// years; `edge cloudflare refresh` gets a newer one.
const CloudflareListDate = "2023-09-28"

// cloudflareRanges is Cloudflare's list of [CloudflareListDate].
var cloudflareRanges = []string{
	"103.21.244.0/22", "103.22.200.0/22", "103.31.4.0/22", "104.16.0.0/13", "104.24.0.0/14", "108.162.192.0/18",
	"131.0.72.0/22", "141.101.64.0/18", "162.158.0.0/15", "172.64.0.0/13", "173.245.48.0/20", "188.114.96.0/20",
	"190.93.240.0/20", "197.234.240.0/22", "198.41.128.0/17",
	"2400:cb00::/32", "2405:8100::/32", "2405:b500::/32", "2606:4700::/32", "2803:f800::/32", "2a06:98c0::/29",
	"2c0f:f248::/32",
}

// CloudflareList is a list of Cloudflare's ranges.
type CloudflareList struct {
	Date   string         `json:"date"` // such as 2026-11-29: when it was fetched; of the built-in list, when Cloudflare last changed it
	Ranges []netip.Prefix `json:"ranges"`
}

// The largest ranges that a list may have. Cloudflare's are 104.16.0.0/13 and 2a06:98c0::/29.
const (
	minIPv4Bits = 10
	minIPv6Bits = 24
)

// notPublic are ranges in which no proxy of a CDN is: the IANA registries of special-purpose addresses.
var notPublic = parsePrefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3",
	"::/16", "64:ff9b::/32", "fc00::/7", "fe80::/10", "ff00::/8",
)

func parsePrefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// Validate returns an error unless the list can be Cloudflare's: whoever is in it chooses the address under which a request counts.
func (l *CloudflareList) Validate() error {
	if _, err := time.Parse(time.DateOnly, l.Date); err != nil {
		return fmt.Errorf("the date %q is not one such as 2026-11-29", l.Date)
	}
	var ipv4, ipv6 int
	for _, r := range l.Ranges {
		a := r.Addr()
		switch {
		case !r.IsValid() || r != r.Masked():
			return fmt.Errorf("%v is not a range", r)
		case slices.ContainsFunc(notPublic, r.Overlaps):
			return fmt.Errorf("the range %v is not public", r)
		case a.Is4() && r.Bits() < minIPv4Bits, a.Is6() && r.Bits() < minIPv6Bits:
			return fmt.Errorf("the range %v is too large", r)
		case a.Is4():
			ipv4++
		default:
			ipv6++
		}
	}
	if ipv4 < 5 || ipv6 < 1 {
		return fmt.Errorf("it has %d IPv4 and %d IPv6 ranges: fewer than Cloudflare", ipv4, ipv6)
	}
	return nil
}

// storedCloudflareList is the list of `edge cloudflare refresh`, which edges with a common storage share.
var storedCloudflareList = stored.Value[CloudflareList]{Key: "edge/cloudflare.json", Repair: "edge cloudflare refresh writes it again"}

// currentCloudflareList is the list that counts. The configurations of a process share it.
var currentCloudflareList = func() *atomic.Pointer[CloudflareList] {
	l := &CloudflareList{Date: CloudflareListDate, Ranges: parsePrefixes(cloudflareRanges...)}
	current := new(atomic.Pointer[CloudflareList])
	current.Store(l)
	return current
}()

// CurrentCloudflareList returns the list that counts.
func CurrentCloudflareList() *CloudflareList { return currentCloudflareList.Load() }

// SetCloudflareList stores a list, and has it count at once. Edges that share the storage use it from their next reload on.
func SetCloudflareList(ctx context.Context, storage certmagic.Storage, l *CloudflareList) error {
	if err := l.Validate(); err != nil {
		return hint.New(fmt.Errorf("this is not Cloudflare's list: %w", err), "the list before still counts")
	}
	if l.Date < CurrentCloudflareList().Date {
		return fmt.Errorf("the list of %s is older than the present one, of %s", l.Date, CurrentCloudflareList().Date)
	}
	if _, err := storedCloudflareList.Update(ctx, storage, func(*CloudflareList) *CloudflareList { return l }); err != nil {
		return err
	}
	currentCloudflareList.Store(l)
	return nil
}

// Cloudflare trusts the addresses of Cloudflare's proxies: the list that is built in, or the one of `edge cloudflare refresh`.
type Cloudflare struct {
	rangeList

	combined atomic.Pointer[combinedList]
}

// combinedList is a list of Cloudflare's with the ranges that the configuration adds.
type combinedList struct {
	of     *CloudflareList
	ranges []netip.Prefix
}

// CaddyModule returns the Caddy module information.
func (*Cloudflare) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.ip_sources.cloudflare", New: func() caddy.Module { return new(Cloudflare) }}
}

// Provision parses the additional ranges and reads the stored list. A storage that cannot be read does not keep the edge from starting.
func (c *Cloudflare) Provision(ctx caddy.Context) error {
	if err := c.parseRanges(nil); err != nil {
		return err
	}
	if err := loadCloudflareList(ctx, ctx.Storage()); err != nil && !errors.Is(err, context.Canceled) {
		ctx.Logger().Warn("the stored list of Cloudflare's addresses is not used", zap.String("used", CurrentCloudflareList().Date), zap.Error(err))
	}
	return nil
}

// loadCloudflareList has the stored list count if it is newer than the present one.
func loadCloudflareList(ctx context.Context, storage certmagic.Storage) error {
	l, err := storedCloudflareList.Load(ctx, storage)
	if err != nil || l.Date <= CurrentCloudflareList().Date {
		return err
	}
	if err := l.Validate(); err != nil {
		return err
	}
	currentCloudflareList.Store(l)
	return nil
}

// GetIPRanges implements caddyhttp.IPRangeSource.
func (c *Cloudflare) GetIPRanges(*http.Request) []netip.Prefix {
	l := currentCloudflareList.Load()
	if combined := c.combined.Load(); combined != nil && combined.of == l {
		return combined.ranges
	}
	combined := &combinedList{l, slices.Concat(l.Ranges, c.ranges)}
	c.combined.Store(combined)
	return combined.ranges
}
