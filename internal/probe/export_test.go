package probe

import "time"

// NextCheck returns how long a ready endpoint waits for its next check.
func (p *Prober) NextCheck() time.Duration { return p.nextCheck(false) }
