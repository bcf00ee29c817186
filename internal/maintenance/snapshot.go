package maintenance

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Snapshot is all closures at one instant. It is never changed; the nil Book has none.
type Snapshot struct{ windows map[string]*Window }

// Window returns what closes a service, or nil.
func (b *Snapshot) Window(service string) *Window {
	if b == nil || len(b.windows) == 0 {
		return nil
	}
	return b.windows[service]
}

// Windows returns all of them, sorted by service.
func (b *Snapshot) Windows() []*Window {
	if b == nil {
		return []*Window{}
	}
	all := slices.AppendSeq([]*Window{}, maps.Values(b.windows))
	slices.SortFunc(all, func(x, y *Window) int { return cmp.Compare(x.Service, y.Service) })
	return all
}

// With returns a book that has these closures too, in the place of those of the same services, whose beginning they keep.
func (b *Snapshot) With(added ...Window) *Snapshot {
	book := b.clone()
	for _, c := range added {
		if was := book.windows[c.Service]; was != nil {
			c.Since = was.Since
		}
		c.done = make(chan struct{})
		book.windows[c.Service] = &c
	}
	return book
}

// Without returns a book without the closures of these services.
func (b *Snapshot) Without(services ...string) *Snapshot {
	book := b.clone()
	for _, service := range services {
		delete(book.windows, service)
	}
	return book
}

func (b *Snapshot) clone() *Snapshot {
	book := &Snapshot{make(map[string]*Window)}
	if b != nil {
		maps.Copy(book.windows, b.windows)
	}
	return book
}

// snapshotJSON is a book as it is kept and shown.
type snapshotJSON struct {
	Services []*Window `json:"services"`
}

// MarshalJSON writes {"services": [closures…]}.
func (b *Snapshot) MarshalJSON() ([]byte, error) { return json.Marshal(snapshotJSON{b.Windows()}) }

// UnmarshalJSON reads what MarshalJSON has written, and refuses what nobody could have closed a service with.
func (b *Snapshot) UnmarshalJSON(text []byte) error {
	var s snapshotJSON
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	closures := make(map[string]*Window, len(s.Services))
	for _, c := range s.Services {
		if c == nil {
			return fmt.Errorf("an empty closure")
		}
		if err := c.Check(); err != nil {
			return fmt.Errorf("service %q: %w", c.Service, err)
		}
		if closures[c.Service] != nil {
			return fmt.Errorf("service %q is there twice", c.Service)
		}
		c.done = make(chan struct{})
		closures[c.Service] = c
	}
	b.windows = closures
	return nil
}
