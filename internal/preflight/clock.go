package preflight

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/certmagic"
)

// minClock is a time before this program was built.
var minClock = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// clockHint is the hint for a wrong clock.
const clockHint = "timedatectl set-ntp true, or set the clock: the validity of each certificate depends on it"

// CheckClock returns an error finding if the clock is certainly wrong, because it is earlier than this program.
func CheckClock(now time.Time) Finding {
	if now.Before(minClock) {
		return errorFinding("clock", clockHint, "it says %s, which is before this program was built", now.UTC().Format(time.RFC3339))
	}
	return okFinding("clock", "it says %s", now.UTC().Format(time.RFC3339))
}

// How far the clock may differ from an authority's before it is a warning, and before it is an error: certificates then fail.
const (
	warnSkew = time.Minute
	maxSkew  = time.Hour
)

// compareClock compares this machine's clock with the Date header of a certificate authority, if the edge uses one.
func (c *Check) compareClock(ctx context.Context, config *edgeConfig) Finding {
	now := c.Now()
	if found := CheckClock(now); found.Level != OK || c.Offline || config == nil || !slices.ContainsFunc(config.hosts, certmagic.SubjectQualifiesForPublicCert) {
		return found
	}
	var lastErr error
	for _, ca := range config.acmeDirectories {
		date, err := c.fetchDate(ctx, ca)
		if err != nil {
			lastErr = err
			continue
		}
		skew := c.Now().Sub(date).Abs()
		switch {
		case skew > maxSkew:
			return errorFinding("clock", clockHint, "it says %s, and the clock of %s says %s", now.UTC().Format(time.RFC3339), ca, date.UTC().Format(time.RFC3339))
		case skew > warnSkew:
			return warningFinding("clock", clockHint, "it differs by %s from the clock of %s", skew.Round(time.Second), ca)
		}
		return okFinding("clock", "it agrees with the clock of %s", ca)
	}
	return warningFinding("clock", "check that this machine reaches the certificate authority, or skip this check with --offline", "it could not be compared: %v", lastErr)
}

// fetchDate returns the time of an authority's clock.
func (c *Check) fetchDate(ctx context.Context, ca string) (time.Time, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, ca, nil)
	if err != nil {
		return time.Time{}, err
	}
	resp, err := c.Client.Do(req)
	if err != nil {
		return time.Time{}, err
	}
	defer resp.Body.Close()
	return http.ParseTime(resp.Header.Get("Date"))
}
