package preflight

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/certmagic"
)

// minClock is a time before which this program was not made.
var minClock = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// clockHint is what to do about a wrong clock.
const clockHint = "timedatectl set-ntp true, or set it: every certificate is judged by it"

// CheckClock says whether a time can be now.
func CheckClock(now time.Time) Finding {
	if now.Before(minClock) {
		return errorFinding("clock", clockHint, "it says %s, which is before this program was made", now.UTC().Format(time.RFC3339))
	}
	return okFinding("clock", "it says %s", now.UTC().Format(time.RFC3339))
}

// How far a clock may be off before somebody should know, and before certificates don't work.
const (
	warnSkew = time.Minute
	maxSkew  = time.Hour
)

// compareClock compares this machine's clock with that of a certificate authority, which is asked for nothing else; if there is none,
// with nothing.
func (c *Check) compareClock(ctx context.Context, config *edgeConfig) Finding {
	now := c.Now()
	if found := CheckClock(now); found.Level != OK || c.Offline || config == nil || !slices.ContainsFunc(config.hosts, certmagic.SubjectQualifiesForPublicCert) {
		return found
	}
	var last error
	for _, ca := range config.acmeDirectories {
		date, err := c.fetchDate(ctx, ca)
		if err != nil {
			last = err
			continue
		}
		off := c.Now().Sub(date).Abs()
		switch {
		case off > maxSkew:
			return errorFinding("clock", clockHint, "it says %s, and that of %s %s", now.UTC().Format(time.RFC3339), ca, date.UTC().Format(time.RFC3339))
		case off > warnSkew:
			return warningFinding("clock", clockHint, "it is %s off that of %s", off.Round(time.Second), ca)
		}
		return okFinding("clock", "it agrees with that of %s", ca)
	}
	return warningFinding("clock", "is there a way out to the certificate authority, and to the internet at all? Or leave this out with --offline", "it could not be compared: %v", last)
}

// fetchDate returns what an authority has for now.
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
