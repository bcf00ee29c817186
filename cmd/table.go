package cmd

import (
	"fmt"
	"time"
)

// orDash returns the text, or a dash if it is empty.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// relativeTime formats a time relative to now: "in 59d", "in 4m", "2h ago"; a dash if there is none.
func relativeTime(now, at time.Time) string {
	switch {
	case at.IsZero():
		return "-"
	case at.Before(now):
		return age(now, at) + " ago"
	}
	return "in " + age(at, now)
}

// age formats the time since then, in its two largest units at most: "5s", "4m3s", "3h0m", "59d".
func age(now, then time.Time) string {
	d := now.Sub(then)
	switch {
	case d < time.Minute:
		return d.Truncate(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
}
