package probe

import "time"

// NextCheckDelay returns how long a ready endpoint waits for its next check.
func (p *Prober) NextCheckDelay() time.Duration { return p.nextCheckDelay(false) }
