package cmd

import (
	"testing"
	"time"
)

func TestTimesOfARestore(t *testing.T) {
	zone := time.FixedZone("here", 2*3600)
	now := time.Date(2026, 11, 26, 15, 30, 0, 0, zone)
	for text, want := range map[string]time.Time{
		"2026-11-25 14:02:59":       time.Date(2026, 11, 25, 14, 2, 59, 0, zone),
		"2026-11-25 14:02":          time.Date(2026, 11, 25, 14, 2, 0, 0, zone),
		"2026-11-25T14:02:59.5Z":    time.Date(2026, 11, 25, 14, 2, 59, 0, time.UTC),
		"2026-11-25T14:02:59+01:00": time.Date(2026, 11, 25, 13, 2, 59, 0, time.UTC),
		"14:02:59":                  time.Date(2026, 11, 26, 14, 2, 59, 0, zone),
		"14:02":                     time.Date(2026, 11, 26, 14, 2, 0, 0, zone),
	} {
		if got, err := parseTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "yesterday", "25:00", "2026-11-26"} {
		if got, err := parseTime(text, now); err == nil {
			t.Errorf("%s: got %v", text, got)
		}
	}
}
