package engineio

import "time"

// Record is a session as one process hands it to its successor.
type Record struct {
	Service  string        `json:"service"`
	SID      string        `json:"sid"`
	Endpoint string        `json:"endpoint"`
	Lifetime time.Duration `json:"lifetime"` // it expires when it is unused for so long
	Unused   time.Duration `json:"unused"`   // it is unused for so long
}

// Export returns the sessions of the table that have not expired, the least recently used ones of each lifetime first.
func (t *Table) Export() []Record {
	now := time.Since(t.startedAt)
	t.mu.Lock()
	defer t.mu.Unlock()
	records := make([]Record, 0, t.count)
	for i := range t.queues {
		q := &t.queues[i]
		for s := q.oldest(); s != nil && s != &q.sentinel; s = s.newer {
			if !s.isExpired(now) {
				records = append(records, Record{
					Service: s.service.name, SID: s.sid, Endpoint: s.endpoint.Value(),
					Lifetime: time.Second << s.lifetimeClass, Unused: now - s.lastUsed,
				})
			}
		}
	}
	return records
}

// Import adds sessions that another table has exported. A session that the table has already stays as it is. The time for which a session is
// unused begins anew.
func (t *Table) Import(records []Record) {
	for _, r := range records {
		if _, isKnown := t.Lookup(r.Service, r.SID); !isKnown && r.Unused < r.Lifetime {
			t.Learn(r.Service, r.SID, r.Endpoint, r.Lifetime)
		}
	}
}
