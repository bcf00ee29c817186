package maintenance

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Snapshot is the set of all windows at one moment. It never changes; a nil Snapshot has no windows.
type Snapshot struct{ windows map[string]*Window }

// Window returns the window of a service, or nil.
func (s *Snapshot) Window(service string) *Window {
	if s == nil || len(s.windows) == 0 {
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
	snapshot := s.clone()
	for _, w := range added {
		if previous := snapshot.windows[w.Service]; previous != nil {
			w.Since = previous.Since
		}
		w.done = make(chan struct{})
		snapshot.windows[w.Service] = &w
	}
	return snapshot
}

// Without returns a snapshot without the windows of these services.
func (s *Snapshot) Without(services ...string) *Snapshot {
	snapshot := s.clone()
	for _, service := range services {
		delete(snapshot.windows, service)
	}
	return snapshot
}

func (s *Snapshot) clone() *Snapshot {
	snapshot := &Snapshot{make(map[string]*Window)}
	if s != nil {
		maps.Copy(snapshot.windows, s.windows)
	}
	return snapshot
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
	s.windows = windows
	return nil
}
