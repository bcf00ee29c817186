package check

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/certmagic"
)

// made is a time before which this program was not made.
var made = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// setClock is what to do about a wrong clock.
const setClock = "timedatectl set-ntp true, or set it: every certificate is judged by it"

// Clock says whether a time can be now.
func Clock(now time.Time) Finding {
	if now.Before(made) {
		return failure("clock", setClock, "it says %s, which is before this program was made", now.UTC().Format(time.RFC3339))
	}
	return ok("clock", "it says %s", now.UTC().Format(time.RFC3339))
}

// How far a clock may be off before somebody should know, and before certificates don't work.
const (
	inexact = time.Minute
	wrong   = time.Hour
)

// clock compares this machine's clock with that of a certificate authority, which is asked for nothing else; if there is none,
// with nothing.
func (c *Check) clock(ctx context.Context, config *config) Finding {
	now := c.Now()
	if found := Clock(now); found.Level != OK || c.Offline || config == nil || !slices.ContainsFunc(config.hosts, certmagic.SubjectQualifiesForPublicCert) {
		return found
	}
	var last error
	for _, ca := range config.authorities {
		date, err := c.dateOf(ctx, ca)
		if err != nil {
			last = err
			continue
		}
		off := c.Now().Sub(date).Abs()
		switch {
		case off > wrong:
			return failure("clock", setClock, "it says %s, and that of %s %s", now.UTC().Format(time.RFC3339), ca, date.UTC().Format(time.RFC3339))
		case off > inexact:
			return warning("clock", setClock, "it is %s off that of %s", off.Round(time.Second), ca)
		}
		return ok("clock", "it agrees with that of %s", ca)
	}
	return warning("clock", "is there a way out to the certificate authority, and to the internet at all? Or leave this out with --offline", "it could not be compared: %v", last)
}

// dateOf returns what an authority has for now.
func (c *Check) dateOf(ctx context.Context, ca string) (time.Time, error) {
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
