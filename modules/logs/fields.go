package logs

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// RequestFields are the fields that edge_proxy adds to the entries of requests. They are one field of zap's, because each that is set in an entry of Caddy's access log
// costs 2 % of a request. Names that are "" are not written.
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
	for _, named := range f.names() {
		if *named.value != "" {
			to.AddString(named.key, *named.value)
		}
	}
	to.AddInt("attempts", f.Attempts)
	to.AddFloat64("held_ms", milliseconds(f.Held))
	to.AddFloat64("upstream_ms", milliseconds(f.Upstream))
	return nil
}

// namedText is a field with a text.
type namedText struct {
	key   string
	value *string
}

func (f *RequestFields) names() [4]namedText {
	return [...]namedText{{"service", &f.Service}, {"endpoint", &f.Endpoint}, {"request_id", &f.RequestID}, {"uuid", &f.UUID}}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// keepLast removes all but the last of fields with the names of [RequestFields]: `log_append` may set them, too.
func keepLast(fields []zapcore.Field) {
	for i := range fields {
		if fields[i].Type != zapcore.InlineMarshalerType {
			continue
		}
		request, ok := fields[i].Interface.(*RequestFields)
		if !ok {
			continue
		}
		for j := range fields {
			if j < i && request.has(fields[j].Key) {
				fields[j] = zap.Skip()
			} else if j > i && request.has(fields[j].Key) {
				request = request.without(fields[j].Key)
				fields[i].Interface = request
			}
		}
		return
	}
}

func (f *RequestFields) has(name string) bool {
	switch name {
	case "service", "endpoint", "request_id", "uuid":
		for _, named := range f.names() {
			if named.key == name {
				return *named.value != ""
			}
		}
	}
	return false
}

// without returns a copy without a name.
func (f *RequestFields) without(name string) *RequestFields {
	other := *f
	for _, named := range other.names() {
		if named.key == name {
			*named.value = ""
		}
	}
	return &other
}

var _ zapcore.ObjectMarshaler = (*RequestFields)(nil)
