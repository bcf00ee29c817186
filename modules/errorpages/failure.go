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
	// refreshSeconds is the time after which the page of a temporary error refreshes: about as long as a container takes to boot.
	refreshSeconds = 5
	// maintenanceRefreshSeconds is the same during a maintenance window, which takes longer.
	maintenanceRefreshSeconds = 30
)

// failure describes a request that failed.
type failure struct {
	message
	Status            int
	Title             string // the reason phrase of the status in IANA's registry
	RequestID         string
	RefreshSeconds    int  // 0: the page does not refresh
	NotForwarded      bool // the client sent data, and the edge did not send it to the application
	DeliveryUncertain bool // the client sent data, and it may be lost
}

// newFailure describes an error, and uses the response headers and placeholders that other handlers have set.
func newFailure(err error, responseHeader http.Header, r *http.Request) failure {
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
	isTemporary := f.Status == http.StatusBadGateway || f.Status == http.StatusServiceUnavailable || f.Status == http.StatusGatewayTimeout
	maintenanceErr, inMaintenance := errors.AsType[*maintenance.Error](err)
	switch {
	case inMaintenance:
		f.message = maintenanceMessage(maintenanceErr)
	case f.Status == http.StatusServiceUnavailable && repl != nil:
		if down, _ := repl.GetString("edge.service.down"); down != "" {
			f.message = downMessage(down)
		}
	case f.Status == http.StatusTooManyRequests:
		f.Advice = retryAdvice(responseHeader.Get("Retry-After"))
	}
	switch {
	case !isTemporary:
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		// No refresh: the browser would use GET. A POST or PATCH gets 503 only if the edge has not sent it to a container;
		// other methods may have been sent, since the edge sends them again.
		f.NotForwarded = f.Status == http.StatusServiceUnavailable && (r.Method == http.MethodPost || r.Method == http.MethodPatch)
		f.DeliveryUncertain = !f.NotForwarded
	case inMaintenance:
		f.RefreshSeconds = maintenanceRefreshSeconds
	case isUnsafeToRepeat(repl): // a refresh could end another container
	default:
		f.RefreshSeconds = refreshSeconds
	}
	return f
}

// isUnsafeToRepeat reports whether edge_proxy has seen containers end while they handled the request.
func isUnsafeToRepeat(repl *caddy.Replacer) bool {
	if repl == nil {
		return false
	}
	repeatable, _ := repl.GetString("edge.request.repeatable")
	return repeatable == "false"
}

// retryAdvice tells the visitor when to try again. retryAfter is a Retry-After header, in seconds or as a date (RFC 9110 section
// 10.2.3).
func retryAdvice(retryAfter string) string {
	seconds, err := strconv.Atoi(retryAfter)
	if at, dateErr := http.ParseTime(retryAfter); dateErr == nil {
		seconds, err = int(math.Ceil(time.Until(at).Seconds())), nil
	}
	const year = 365 * 24 * 60 * 60
	if err != nil || seconds <= 0 || seconds > year {
		return "Wait a minute, then try again."
	}
	return "Try again in " + durationInWords(time.Duration(seconds)*time.Second) + "."
}

// durationInWords returns a duration in words, rounded up to the next second, minute or hour.
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
