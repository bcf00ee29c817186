package logview

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	red   = "\x1b[31m"
	dim   = "\x1b[2m"
	reset = "\x1b[0m"
)

// containerColors tell the containers apart: all but red, which is for errors.
var containerColors = []string{"\x1b[32m", "\x1b[33m", "\x1b[34m", "\x1b[35m", "\x1b[36m", "\x1b[92m", "\x1b[94m", "\x1b[95m", "\x1b[96m"}

// format returns the line for people, without the end of the line.
func (l Line) format(width int, isColor bool) string {
	name := fmt.Sprintf("%-*s", width, l.Container)
	at := l.Time.Local().Format("15:04:05.000")
	text := printable(l.Text)
	if l.Entry != nil {
		text = l.Entry.format()
	}
	if !isColor {
		return at + " " + name + " | " + text
	}
	if l.IsError() {
		text = red + text + reset
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(l.Container)) // it never fails
	return dim + at + reset + " " + containerColors[int(hash.Sum32())%len(containerColors)] + name + reset + " | " + text
}

// format returns what the entry says: a request as "GET example.com/path 200 12ms → api:80 172.18.0.7:80", the rest as "level logger: message key=value".
func (e *Entry) format() string {
	if e.isAccess {
		return printable(e.formatRequest())
	}
	var b strings.Builder
	if e.Level != "info" {
		b.WriteString(strings.ToUpper(e.Level) + " ")
	}
	if e.Logger != "" {
		b.WriteString(e.Logger + ": ")
	}
	b.WriteString(e.Message)
	for _, name := range slices.Sorted(maps.Keys(e.others)) {
		switch name {
		case "level", "logger", "msg", "resp_headers", "err_trace", "err_id":
		default:
			fmt.Fprintf(&b, " %s=%s", name, formatValue(e.others[name]))
		}
	}
	return printable(b.String())
}

func (e *Entry) formatRequest() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s%s %d %s", e.Method, e.Host, e.URI, e.Status, formatDuration(e.Duration))
	if e.Service != "" {
		fmt.Fprintf(&b, " → %s", e.Service)
	}
	if e.Endpoint != "" {
		b.WriteString(" " + e.Endpoint)
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, ", %d attempts", e.Attempts)
	}
	if e.Held > 0 {
		fmt.Fprintf(&b, ", held %s", formatDuration(e.Held))
	}
	if e.Error != "" {
		b.WriteString(": " + e.Error)
	}
	if e.RequestID != "" {
		b.WriteString(" id=" + e.RequestID)
	}
	return b.String()
}

func formatDuration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

func formatValue(value any) string {
	if text, ok := value.(string); ok && text != "" && !strings.ContainsAny(text, " \"=") {
		return text
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}

// printable returns a text without control characters, with which a log could change what a terminal shows.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, text)
}
