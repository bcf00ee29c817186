package trustedproxies

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/certmagic"
)

// keepList puts the present list back when the test ends.
func keepList(t *testing.T) {
	t.Helper()
	before := CurrentCloudflareList()
	t.Cleanup(func() { currentCloudflareList.Store(before) })
}

func TestARefreshedListCountsAtOnceAndIsStored(t *testing.T) {
	keepList(t)
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	source := new(Cloudflare)
	source.Extra = []string{"192.0.2.10"}
	if err := source.parseRanges(nil); err != nil {
		t.Fatal(err)
	}
	builtIn := CurrentCloudflareList()
	added := netip.MustParsePrefix("203.0.114.0/24")
	has := func() bool { return slices.Contains(source.GetIPRanges(nil), added) }
	if has() {
		t.Fatal("the range is there before")
	}
	list := &CloudflareList{Date: "2026-11-29", Ranges: append(slices.Clone(builtIn.Ranges), added)}
	if err := SetCloudflareList(t.Context(), storage, list); err != nil {
		t.Fatal(err)
	}
	if !has() || !slices.Contains(source.GetIPRanges(nil), netip.MustParsePrefix("192.0.2.10/32")) {
		t.Errorf("the ranges are %v", source.GetIPRanges(nil))
	}
	if err := SetCloudflareList(t.Context(), storage, &CloudflareList{Date: "2025-01-01", Ranges: builtIn.Ranges}); err == nil || !strings.Contains(err.Error(), "older") {
		t.Errorf("an older list: %v", err)
	}

	currentCloudflareList.Store(builtIn) // the next process
	if err := loadCloudflareList(t.Context(), storage); err != nil {
		t.Fatal(err)
	}
	if !has() {
		t.Error("the next edge does not use the stored list")
	}
	currentCloudflareList.Store(builtIn)
	if err := os.WriteFile(filepath.Join(storage.Path, storedCloudflareList.Key), []byte(`{"date":"2027-01-01","ranges":["0.0.0.0/0"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := loadCloudflareList(t.Context(), storage); err == nil || CurrentCloudflareList() != builtIn {
		t.Errorf("a damaged list: %v, and the present one is of %s", err, CurrentCloudflareList().Date)
	}
}

func TestOnlyCloudflaresListIsAccepted(t *testing.T) {
	good := CurrentCloudflareList().Ranges
	with := func(text string) []netip.Prefix { return append(slices.Clone(good), netip.MustParsePrefix(text)) }
	for want, l := range map[string]*CloudflareList{
		`the date "" is not one`:        {Ranges: good},
		"0 IPv4 and 0 IPv6 ranges":      {Date: "2026-11-29"},
		"4 IPv4 and 0 IPv6 ranges":      {Date: "2026-11-29", Ranges: good[:4]},
		"0.0.0.0/0 is not public":       {Date: "2026-11-29", Ranges: with("0.0.0.0/0")},
		"172.0.0.0/10 is not public":    {Date: "2026-11-29", Ranges: with("172.0.0.0/10")},
		"192.168.1.0/24 is not public":  {Date: "2026-11-29", Ranges: with("192.168.1.0/24")},
		"::/0 is not public":            {Date: "2026-11-29", Ranges: with("::/0")},
		"104.0.0.0/8 is too large":      {Date: "2026-11-29", Ranges: with("104.0.0.0/8")},
		"2400::/12 is too large":        {Date: "2026-11-29", Ranges: with("2400::/12")},
		"203.0.114.1/24 is not a range": {Date: "2026-11-29", Ranges: with("203.0.114.1/24")},
		"invalid Prefix is not a range": {Date: "2026-11-29", Ranges: append(slices.Clone(good), netip.Prefix{})},
	} {
		if err := l.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
