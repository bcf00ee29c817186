package errorpages

import (
	"cmp"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/internal/maintenance"
)

const (
	// refreshSeconds is after how many seconds a page that is worth waiting for loads itself again: about the time that a
	// container takes to boot.
	refreshSeconds = 5
	// maintenanceRefreshSeconds is the same while an operator works on the application, which takes longer.
	maintenanceRefreshSeconds = 30
)

// failure is what there is to say of a request that failed.
type failure struct {
	message
	Status            int
	Title             string // of the status, by the IANA's registry
	RequestID         string
	RefreshSeconds    int  // in seconds; 0: the page stays
	NotForwarded      bool // something was sent that has not reached the application
	DeliveryUncertain bool // something was sent that may have been lost
}

// newFailure returns what is to be said, of the error and of what handlers have said in headers and placeholders.
func newFailure(err error, set http.Header, r *http.Request) failure {
	f := failure{Status: http.StatusInternalServerError}
	if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		f.Status = cmp.Or(he.StatusCode, f.Status)
	}
	f.Title = cmp.Or(http.StatusText(f.Status), "Error "+strconv.Itoa(f.Status))
	f.message = messageFor(f.Status)
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if repl != nil {
		f.RequestID, _ = repl.GetString("http.request.uuid")
	}
	waits := f.Status == http.StatusBadGateway || f.Status == http.StatusServiceUnavailable || f.Status == http.StatusGatewayTimeout
	closed, inMaintenance := errors.AsType[*maintenance.Error](err)
	switch {
	case inMaintenance:
		f.message = maintenanceMessage(closed)
	case f.Status == http.StatusServiceUnavailable && repl != nil:
		if down, _ := repl.GetString("edge.service.down"); down != "" {
			f.message = downMessage(down)
		}
	case f.Status == http.StatusTooManyRequests:
		f.Advice = retryAdvice(set.Get("Retry-After"))
	}
	switch {
	case !waits:
	case r.Method != http.MethodGet && r.Method != http.MethodHead: // and it would be asked for with GET
		// What must not be sent twice gets 503 only if it was not sent at all.
		f.NotForwarded = f.Status == http.StatusServiceUnavailable && (r.Method == http.MethodPost || r.Method == http.MethodPatch)
		f.DeliveryUncertain = !f.NotForwarded
	case inMaintenance:
		f.RefreshSeconds = maintenanceRefreshSeconds
	case isUnsafeToRepeat(repl): // it would only do more harm
	default:
		f.RefreshSeconds = refreshSeconds
	}
	return f
}

// isUnsafeToRepeat reports whether edge_proxy has found that containers end with the request.
func isUnsafeToRepeat(repl *caddy.Replacer) bool {
	if repl == nil {
		return false
	}
	repeatable, _ := repl.GetString("edge.request.repeatable")
	return repeatable == "false"
}

// retryAdvice says when to try again: header is a Retry-After, in seconds or as a date (RFC 9110 section 10.2.3).
func retryAdvice(header string) string {
	seconds, err := strconv.Atoi(header)
	if at, dateErr := http.ParseTime(header); dateErr == nil {
		seconds, err = int(math.Ceil(time.Until(at).Seconds())), nil
	}
	const year = 365 * 24 * 60 * 60
	if err != nil || seconds <= 0 || seconds > year {
		return "Wait a minute, then try again."
	}
	return "Try again in " + durationInWords(time.Duration(seconds)*time.Second) + "."
}

// durationInWords returns a time in words, rounded up.
func durationInWords(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Second, "second"}, {time.Minute, "minute"}, {time.Hour, "hour"}} {
		n := int((d + u.unit - 1) / u.unit)
		switch {
		case n == 1:
			return "1 " + u.name
		case n <= 90 || u.unit == time.Hour:
			return strconv.Itoa(n) + " " + u.name + "s"
		}
	}
	return ""
}
