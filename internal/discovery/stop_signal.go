package discovery

import (
	"fmt"
	"slices"
	"strings"
)

// signalNumbers has the signals that usually do not tell a container to stop: programs use them to reload, to reopen files or to
// report. The numbers are those of Linux.
var signalNumbers = map[string]string{"HUP": "1", "USR1": "10", "USR2": "12", "WINCH": "28"}

// CheckStopSignal returns an error if a signal can't be configured as a stop signal, or need not be. It takes names with or without
// SIG, and numbers.
func CheckStopSignal(signal string) error {
	if signalName(signal) == "" {
		return fmt.Errorf("stop signal %q: only HUP, USR1, USR2 and WINCH can be configured; every other signal means stop anyway", signal)
	}
	return nil
}

// isStopSignal reports whether a signal, as an event names it ("15", "SIGTERM"), tells a container to stop. exceptions are names or
// numbers of signals that usually do not, but do for this container.
func isStopSignal(signal string, exceptions []string) bool {
	name := signalName(signal)
	if name == "" {
		return true
	}
	return slices.ContainsFunc(exceptions, func(e string) bool { return signalName(strings.TrimSpace(e)) == name })
}

// signalName returns the name of one of signalNumbers, given its name or number; "" for any other signal.
func signalName(signal string) string {
	signal = strings.TrimPrefix(strings.ToUpper(signal), "SIG")
	for name, number := range signalNumbers {
		if signal == name || signal == number {
			return name
		}
	}
	return ""
}
