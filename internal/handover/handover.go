// Package handover collects what the modules of an edge know that its successor can't find out by itself.
package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
)

// Part is what one module hands over.
type Part struct {
	// Export returns it in JSON; nil if there is nothing.
	Export func() (json.RawMessage, error)
	// Import takes over what Export has returned in another process. It may be called several times.
	Import func(json.RawMessage) error
}

var (
	mu    sync.Mutex
	parts = make(map[string]Part)
)

// Register adds a part. Call it in an init function; a second part of the same name is a defect of the program.
func Register(name string, p Part) {
	mu.Lock()
	defer mu.Unlock()
	if _, exists := parts[name]; exists {
		panic("handover: two parts are called " + name)
	}
	parts[name] = p
}

// Export returns all parts that have something, by name. An error of one part does not keep the others from being returned.
func Export() (map[string]json.RawMessage, error) {
	mu.Lock()
	defer mu.Unlock()
	all := make(map[string]json.RawMessage)
	var failed error
	for name, p := range parts {
		value, err := p.Export()
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", name, err))
		} else if value != nil {
			all[name] = value
		}
	}
	return all, failed
}

// Import gives each part what another process has exported. It ignores parts that this process does not have.
func Import(all map[string]json.RawMessage) error {
	mu.Lock()
	defer mu.Unlock()
	var failed error
	for name, value := range all {
		if p, exists := parts[name]; exists {
			if err := p.Import(value); err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	return failed
}
