package registry

import "time"

// State is where an endpoint stands in its life: starting → ready ⇄ failing, and from any of them draining → gone.
type State string

// The states of an endpoint. Only a ready endpoint is given new requests.
const (
	Starting State = "starting" // known, not answering yet
	Ready    State = "ready"    // answers: takes requests
	Failing  State = "failing"  // answered once, does not now
	Draining State = "draining" // was told to stop: finishes what it has
	Gone     State = "gone"     // no longer an endpoint of the service
)

// Change is one step of one endpoint, for logs.
type Change struct {
	Service  string
	Endpoint string // its identity: container ID, or address
	Name     string // for display: project/service/number
	Address  string
	From, To State
	Reason   string
	Time     time.Time
}
