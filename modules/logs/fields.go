package logs

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// RequestFields are the fields that edge_proxy adds to the entries of requests. They are one field of zap's, because each that is set in an entry of Caddy's access log
// costs an allocation. Texts that are "" are not written.
type RequestFields struct {
	Service, Endpoint, RequestID string

	UUID string // Caddy's ID of the request, if it has not added that itself

	Attempts       int
	Held, Upstream time.Duration
}

// Field returns the fields as one, which refers to them.
func (f *RequestFields) Field() zap.Field {
	return zap.Field{Key: "edge_proxy", Type: zapcore.InlineMarshalerType, Interface: f}
}

// MarshalLogObject implements [zapcore.ObjectMarshaler].
func (f *RequestFields) MarshalLogObject(to zapcore.ObjectEncoder) error {
	for _, text := range f.texts() {
		if text.value != "" {
			to.AddString(text.name, text.value)
		}
	}
	to.AddInt("attempts", f.Attempts)
	to.AddFloat64("held_ms", milliseconds(f.Held))
	to.AddFloat64("upstream_ms", milliseconds(f.Upstream))
	return nil
}

// namedText is a field with a text.
type namedText struct{ name, value string }

func (f *RequestFields) texts() [4]namedText {
	return [...]namedText{{"service", f.Service}, {"endpoint", f.Endpoint}, {"request_id", f.RequestID}, {"uuid", f.UUID}}
}

// has reports whether one of the fields has a name.
func (f *RequestFields) has(name string) bool {
	switch name {
	case "service":
		return f.Service != ""
	case "endpoint":
		return f.Endpoint != ""
	case "request_id":
		return f.RequestID != ""
	case "uuid":
		return f.UUID != ""
	case "attempts", "held_ms", "upstream_ms":
		return true
	}
	return false
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

var _ zapcore.ObjectMarshaler = (*RequestFields)(nil)
