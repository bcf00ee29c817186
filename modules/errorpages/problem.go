package errorpages

import (
	"encoding/json"
	"io"
)

// problem is what a program gets (RFC 9457).
type problem struct {
	Type      string `json:"type"` // the status says it all
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Instance  string `json:"instance,omitempty"`
	RequestID string `json:"request_id,omitempty"`
}

func (f *failure) writeProblem(w io.Writer) error {
	p := problem{Type: "about:blank", Title: f.Title, Status: f.Status, Detail: f.Detail, RequestID: f.RequestID}
	if f.RequestID != "" {
		p.Instance = "urn:uuid:" + f.RequestID
	}
	return json.NewEncoder(w).Encode(p)
}
