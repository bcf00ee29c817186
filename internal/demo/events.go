package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// pulseEvent is the data of one server-sent event.
type pulseEvent struct {
	Server string    `json:"server"`
	Time   time.Time `json:"time"`
}

// streamEvents sends an event at once and then one a second, until the client or the server goes.
// Only an edge that flushes shows them one by one.
func (b *bigCapital) streamEvents(w http.ResponseWriter, r *http.Request) {
	b.log(b.name, "event stream opened")
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	ticker := time.NewTicker(tickPeriod)
	defer ticker.Stop()
	flusher := http.NewResponseController(w)
	for id := 1; ; id++ {
		data, err := json.Marshal(pulseEvent{b.name, time.Now().UTC().Truncate(time.Millisecond)})
		if err != nil {
			panic(err) // a string and a time: can't fail
		}
		if _, err := fmt.Fprintf(w, "id: %d\nevent: pulse\ndata: %s\n\n", id, data); err != nil {
			return
		}
		if err := flusher.Flush(); err != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}
