package maintenance

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Book is all closures at one instant. It is never changed; the nil Book has none.
type Book struct{ closures map[string]*Closure }

// Closure returns what closes a service, or nil.
func (b *Book) Closure(service string) *Closure {
	if b == nil || len(b.closures) == 0 {
		return nil
	}
	return b.closures[service]
}

// Closures returns all of them, sorted by service.
func (b *Book) Closures() []*Closure {
	if b == nil {
		return []*Closure{}
	}
	all := slices.AppendSeq([]*Closure{}, maps.Values(b.closures))
	slices.SortFunc(all, func(x, y *Closure) int { return cmp.Compare(x.Service, y.Service) })
	return all
}

// With returns a book that has these closures too, in the place of those of the same services, whose beginning they keep.
func (b *Book) With(added ...Closure) *Book {
	book := b.copy()
	for _, c := range added {
		if was := book.closures[c.Service]; was != nil {
			c.Since = was.Since
		}
		c.over = make(chan struct{})
		book.closures[c.Service] = &c
	}
	return book
}

// Without returns a book without the closures of these services.
func (b *Book) Without(services ...string) *Book {
	book := b.copy()
	for _, service := range services {
		delete(book.closures, service)
	}
	return book
}

func (b *Book) copy() *Book {
	book := &Book{make(map[string]*Closure)}
	if b != nil {
		maps.Copy(book.closures, b.closures)
	}
	return book
}

// sheet is a book as it is kept and shown.
type sheet struct {
	Services []*Closure `json:"services"`
}

// MarshalJSON writes {"services": [closures…]}.
func (b *Book) MarshalJSON() ([]byte, error) { return json.Marshal(sheet{b.Closures()}) }

// UnmarshalJSON reads what MarshalJSON has written, and refuses what nobody could have closed a service with.
func (b *Book) UnmarshalJSON(text []byte) error {
	var s sheet
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	closures := make(map[string]*Closure, len(s.Services))
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
		c.over = make(chan struct{})
		closures[c.Service] = c
	}
	b.closures = closures
	return nil
}
