package maintenance

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Snapshot is the set of all windows at one moment. It never changes; a nil Snapshot has no windows.
type Snapshot struct {
	windows map[string]*Window // by service
	byName  map[string]*Window // by each name of a service that has several
}

// Window returns the window of a service, or nil. Maintenance goes on when a route gets one more name for its service, or one less: the
// window of "a:80" is that of "a:80,b:80" too, and the other way round.
func (s *Snapshot) Window(service string) *Window {
	if s == nil || len(s.windows) == 0 {
		return nil
	}
	if w := s.windows[service]; w != nil {
		return w
	}
	for name := range strings.SplitSeq(service, ",") {
		if w := cmp.Or(s.windows[name], s.byName[name]); w != nil {
			return w
		}
	}
	return nil
}

// exactWindow returns the window with this service's name, or nil.
func (s *Snapshot) exactWindow(service string) *Window {
	if s == nil {
		return nil
	}
	return s.windows[service]
}

// Windows returns all windows, sorted by service.
func (s *Snapshot) Windows() []*Window {
	if s == nil {
		return []*Window{}
	}
	all := slices.AppendSeq([]*Window{}, maps.Values(s.windows))
	slices.SortFunc(all, func(x, y *Window) int { return cmp.Compare(x.Service, y.Service) })
	return all
}

// With returns a snapshot with these windows added. A window replaces the one of the same service, and keeps its Since.
func (s *Snapshot) With(added ...Window) *Snapshot {
	windows := s.clone()
	for _, w := range added {
		if previous := s.Window(w.Service); previous != nil {
			w.Since = previous.Since
		}
		w.done = make(chan struct{})
		windows[w.Service] = &w
	}
	return newSnapshot(windows)
}

// Without returns a snapshot without the windows of these services.
func (s *Snapshot) Without(services ...string) *Snapshot {
	windows := s.clone()
	for _, service := range services {
		delete(windows, service)
	}
	return newSnapshot(windows)
}

func newSnapshot(windows map[string]*Window) *Snapshot {
	s := &Snapshot{windows: windows, byName: make(map[string]*Window)}
	for _, service := range slices.Sorted(maps.Keys(windows)) {
		for name := range strings.SplitSeq(service, ",") {
			if name != service && s.byName[name] == nil {
				s.byName[name] = windows[service]
			}
		}
	}
	return s
}

// clone returns a copy of the windows by service.
func (s *Snapshot) clone() map[string]*Window {
	windows := make(map[string]*Window)
	if s != nil {
		maps.Copy(windows, s.windows)
	}
	return windows
}

// snapshotJSON is a snapshot in the storage and in the admin API.
type snapshotJSON struct {
	Services []*Window `json:"services"`
}

// MarshalJSON writes {"services": [windows…]}.
func (s *Snapshot) MarshalJSON() ([]byte, error) { return json.Marshal(snapshotJSON{s.Windows()}) }

// UnmarshalJSON reads what MarshalJSON writes, and returns an error for a window that [Window.Check] rejects.
func (s *Snapshot) UnmarshalJSON(text []byte) error {
	var read snapshotJSON
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	windows := make(map[string]*Window, len(read.Services))
	for _, w := range read.Services {
		if w == nil {
			return errors.New("an empty maintenance window")
		}
		if err := w.Check(); err != nil {
			return fmt.Errorf("service %q: %w", w.Service, err)
		}
		if windows[w.Service] != nil {
			return fmt.Errorf("service %q is listed twice", w.Service)
		}
		w.done = make(chan struct{})
		windows[w.Service] = w
	}
	*s = *newSnapshot(windows)
	return nil
}
