package service

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/theworklabs/edge/internal/registry"
)

// The functions below read the arguments of the line that the dispenser is on. Their errors name the file and the line. An empty
// argument, which an unset environment variable leaves, keeps the default.

// StringArg reads the line's only argument.
func StringArg(d *caddyfile.Dispenser, to *string) error {
	args := d.RemainingArgs()
	if len(args) != 1 {
		return d.ArgErr()
	}
	*to = args[0]
	return nil
}

// StringArgs appends the line's arguments, of which there must be at least one.
func StringArgs(d *caddyfile.Dispenser, to *[]string) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.ArgErr()
	}
	for _, arg := range args {
		if arg != "" {
			*to = append(*to, arg)
		}
	}
	return nil
}

// DurationArg reads the line's only argument as a positive duration.
func DurationArg(d *caddyfile.Dispenser, to *caddy.Duration) error {
	var text string
	if err := StringArg(d, &text); err != nil || text == "" {
		return err
	}
	return ParseDuration(d, text, to)
}

// ParseDuration parses a positive duration, such as 60s, 5m or 1d.
func ParseDuration(d *caddyfile.Dispenser, text string, to *caddy.Duration) error {
	value, err := caddy.ParseDuration(text)
	if err != nil || value <= 0 {
		return d.Errf("%q: want a positive duration, such as 500ms, 60s or 5m", text)
	}
	*to = caddy.Duration(value)
	return nil
}

// durationOrOffArg reads the line's only argument as a positive duration, or off, which it stores as -1: 0 is the default.
func durationOrOffArg(d *caddyfile.Dispenser, to *caddy.Duration) error {
	var text string
	if err := StringArg(d, &text); err != nil || text == "" {
		return err
	}
	if text == "off" {
		*to = -1
		return nil
	}
	return ParseDuration(d, text, to)
}

// CountArg reads the line's only argument as a positive number.
func CountArg(d *caddyfile.Dispenser, to *int) error {
	var text string
	if err := StringArg(d, &text); err != nil || text == "" {
		return err
	}
	return parseCount(d, text, to)
}

// CountOrOffArg reads the line's only argument as a positive number, or off, which it stores as -1: 0 is the default.
func CountOrOffArg(d *caddyfile.Dispenser, to *int) error {
	var text string
	if err := StringArg(d, &text); err != nil || text == "" {
		return err
	}
	if text == "off" {
		*to = -1
		return nil
	}
	return parseCount(d, text, to)
}

func parseCount(d *caddyfile.Dispenser, text string, to *int) error {
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		return d.Errf("%q: want a number above 0", text)
	}
	*to = n
	return nil
}

// percentOrOffArg reads the line's only argument as a percentage, and stores it as a fraction from 0 to 1; or off, which it stores as
// -1: 0 is the default.
func percentOrOffArg(d *caddyfile.Dispenser, to *float64) error {
	var text string
	if err := StringArg(d, &text); err != nil || text == "" {
		return err
	}
	if text == "off" {
		*to = -1
		return nil
	}
	n, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !(n > 0 && n <= 100) { // NaN is neither
		return d.Errf("%q: want a percentage, such as 20%%, or off", text)
	}
	*to = n / 100
	return nil
}

// ParseNames returns the service that the arguments name: one name, or several that form one pool.
func ParseNames(args []string) (string, error) {
	return registry.NormalizeService(strings.Join(args, ","))
}
