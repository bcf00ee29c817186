package backup

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/dblog"
	"github.com/theworklabs/edge/internal/restic"
)

// storedLogs returns the snapshots with logs of each service, the oldest first.
func storedLogs(snapshots []restic.Snapshot) map[string][]dblog.Stored {
	stored := make(map[string][]dblog.Stored)
	for _, s := range snapshots {
		until, err := strconv.ParseInt(parseTags(s.Tags)[tagUntil], 10, 64)
		if err != nil {
			continue
		}
		for service, text := range spansOf(s.Tags) {
			if span, err := dblog.ParseSpan(text); err == nil {
				stored[service] = append(stored[service], dblog.Stored{
					Snapshot: s.ID, Until: time.UnixMilli(until).UTC(), Span: span, HasTrailer: slices.Contains(s.Tags, tagTrailer),
				})
			}
		}
	}
	for _, all := range stored {
		correctTimes(all)
		slices.SortStableFunc(all, func(a, b dblog.Stored) int { return a.Until.Compare(b.Until) })
	}
	return stored
}

// correctTimes gives each span a time that is not later than that of a span which goes further: otherwise the clock was wrong, and has been set
// back since then.
func correctTimes(all []dblog.Stored) {
	slices.SortStableFunc(all, func(a, b dblog.Stored) int { return a.Span.To.Compare(b.Span.To) })
	earliest := make(map[string]dblog.Stored) // chain → of the spans that go further
	for i := len(all) - 1; i >= 0; i-- {
		further, isKnown := earliest[all[i].Span.Chain]
		if isKnown && all[i].Span.To != further.Span.To && all[i].Until.After(further.Until) {
			all[i].Until = further.Until
		}
		if !isKnown || all[i].Until.Before(further.Until) {
			earliest[all[i].Span.Chain] = all[i]
		}
	}
}

// spansOf returns the spans that tags name, by their services.
func spansOf(tags []string) map[string]string {
	spans := make(map[string]string)
	for _, tag := range tags {
		if service, span, found := strings.Cut(strings.TrimPrefix(tag, tagSpan), "="); found && strings.HasPrefix(tag, tagSpan) {
			spans[service] = span
		}
	}
	return spans
}

// expiredLogs returns the snapshots with logs that are older than a time, and those whose logs a later one has, too.
func expiredLogs(snapshots []restic.Snapshot, oldest time.Time) (expired []string) {
	stored := storedLogs(snapshots)
	for _, s := range snapshots {
		until, err := strconv.ParseInt(parseTags(s.Tags)[tagUntil], 10, 64)
		if err != nil {
			continue
		}
		isCovered := true
		for service, text := range spansOf(s.Tags) {
			span, err := dblog.ParseSpan(text)
			isCovered = isCovered && err == nil && slices.ContainsFunc(stored[service], func(other dblog.Stored) bool {
				isWhole := !other.HasTrailer || dblog.IsContinued(stored[service], other)
				return isWhole && other.Snapshot != s.ID && other.Until.UnixMilli() > until && other.Span.Chain == span.Chain && other.Span.From.Compare(span.From) <= 0 && other.Span.To.Compare(span.To) >= 0
			})
		}
		if isCovered || time.UnixMilli(until).Before(oldest) {
			expired = append(expired, s.ID)
		}
	}
	return expired
}
