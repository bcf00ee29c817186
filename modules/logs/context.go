package logs

import (
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

// context has the fields of a logger's context, which are encoded with each entry. Caddy adds each request to the context of a logger that all logs share, and
// nearly all of them drop what comes then: encoders that encode a context at once, as zap's do, write the request once for each log.
//
// Objects and values of unknown types are read at once, since they may change: all but Caddy's own copy of a request.
type context struct {
	recorded []zapcore.Field
	one      [1]zapcore.Field // the memory of a context with one field, such as the request
}

func (c *context) add(f zapcore.Field) {
	if c.recorded == nil {
		c.recorded = c.one[:0]
	}
	c.recorded = append(c.recorded, f)
}

// contextEncoder is an encoder with a context. An encoder of entries embeds it; its clones are a contextEncoder alone, since there is one for each request.
type contextEncoder struct {
	entries entryEncoder
	context
}

// entryEncoder writes an entry with all its fields, which it may change, but must not keep.
type entryEncoder interface {
	encode(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error)
}

// Clone implements [zapcore.Encoder].
func (c *contextEncoder) Clone() zapcore.Encoder {
	clone := &contextEncoder{entries: c.entries}
	clone.recorded = slices.Clip(c.recorded)
	return clone
}

// EncodeEntry implements [zapcore.Encoder].
func (c *contextEncoder) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	all := fieldSlices.Get().(*[]zapcore.Field)
	*all = append(append((*all)[:0], c.recorded...), fields...)
	line, err := c.entries.encode(entry, *all)
	clear(*all)
	fieldSlices.Put(all)
	return line, err
}

var fieldSlices = sync.Pool{New: func() any {
	fields := make([]zapcore.Field, 0, 32)
	return &fields
}}

// recordedObject is an object whose fields have been read.
type recordedObject []zapcore.Field

// MarshalLogObject implements [zapcore.ObjectMarshaler].
func (o recordedObject) MarshalLogObject(to zapcore.ObjectEncoder) error {
	for _, f := range o {
		f.AddTo(to)
	}
	return nil
}

// AddObject implements [zapcore.ObjectEncoder].
func (c *context) AddObject(key string, object zapcore.ObjectMarshaler) error {
	switch o := object.(type) {
	case caddyhttp.LoggableHTTPRequest:
		c.add(zap.Object(key, o))
		return nil
	case caddyhttp.LoggableHTTPHeader: // a filter has to know it as such
		o.Header = o.Header.Clone()
		c.add(zap.Object(key, o))
		return nil
	}
	// It writes to c itself: the objects that Caddy's encoder `filter` wraps write to the encoder that filter has, and not to the one that they are given.
	outer := c.recorded
	c.recorded = make([]zapcore.Field, 0, 8)
	err := object.MarshalLogObject(c)
	inner := recordedObject(c.recorded)
	c.recorded = outer
	c.add(zap.Object(key, inner))
	return err
}

// AddReflected implements [zapcore.ObjectEncoder].
func (c *context) AddReflected(key string, value any) error {
	text, err := json.Marshal(value)
	if err == nil {
		value = json.RawMessage(text)
	}
	c.add(zap.Reflect(key, value)) // the encoder says what is wrong with it
	return nil
}

// AddArray implements [zapcore.ObjectEncoder].
func (c *context) AddArray(key string, v zapcore.ArrayMarshaler) error {
	c.add(zap.Array(key, v))
	return nil
}

// AddBinary implements [zapcore.ObjectEncoder].
func (c *context) AddBinary(key string, v []byte) { c.add(zap.Binary(key, slices.Clone(v))) }

// AddByteString implements [zapcore.ObjectEncoder].
func (c *context) AddByteString(key string, v []byte) { c.add(zap.ByteString(key, slices.Clone(v))) }

// AddBool implements [zapcore.ObjectEncoder].
func (c *context) AddBool(key string, v bool) { c.add(zap.Bool(key, v)) }

// AddComplex128 implements [zapcore.ObjectEncoder].
func (c *context) AddComplex128(key string, v complex128) { c.add(zap.Complex128(key, v)) }

// AddComplex64 implements [zapcore.ObjectEncoder].
func (c *context) AddComplex64(key string, v complex64) { c.add(zap.Complex64(key, v)) }

// AddDuration implements [zapcore.ObjectEncoder].
func (c *context) AddDuration(key string, v time.Duration) { c.add(zap.Duration(key, v)) }

// AddFloat64 implements [zapcore.ObjectEncoder].
func (c *context) AddFloat64(key string, v float64) { c.add(zap.Float64(key, v)) }

// AddFloat32 implements [zapcore.ObjectEncoder].
func (c *context) AddFloat32(key string, v float32) { c.add(zap.Float32(key, v)) }

// AddInt implements [zapcore.ObjectEncoder].
func (c *context) AddInt(key string, v int) { c.add(zap.Int(key, v)) }

// AddInt64 implements [zapcore.ObjectEncoder].
func (c *context) AddInt64(key string, v int64) { c.add(zap.Int64(key, v)) }

// AddInt32 implements [zapcore.ObjectEncoder].
func (c *context) AddInt32(key string, v int32) { c.add(zap.Int32(key, v)) }

// AddInt16 implements [zapcore.ObjectEncoder].
func (c *context) AddInt16(key string, v int16) { c.add(zap.Int16(key, v)) }

// AddInt8 implements [zapcore.ObjectEncoder].
func (c *context) AddInt8(key string, v int8) { c.add(zap.Int8(key, v)) }

// AddString implements [zapcore.ObjectEncoder].
func (c *context) AddString(key, v string) { c.add(zap.String(key, v)) }

// AddTime implements [zapcore.ObjectEncoder].
func (c *context) AddTime(key string, v time.Time) { c.add(zap.Time(key, v)) }

// AddUint implements [zapcore.ObjectEncoder].
func (c *context) AddUint(key string, v uint) { c.add(zap.Uint(key, v)) }

// AddUint64 implements [zapcore.ObjectEncoder].
func (c *context) AddUint64(key string, v uint64) { c.add(zap.Uint64(key, v)) }

// AddUint32 implements [zapcore.ObjectEncoder].
func (c *context) AddUint32(key string, v uint32) { c.add(zap.Uint32(key, v)) }

// AddUint16 implements [zapcore.ObjectEncoder].
func (c *context) AddUint16(key string, v uint16) { c.add(zap.Uint16(key, v)) }

// AddUint8 implements [zapcore.ObjectEncoder].
func (c *context) AddUint8(key string, v uint8) { c.add(zap.Uint8(key, v)) }

// AddUintptr implements [zapcore.ObjectEncoder].
func (c *context) AddUintptr(key string, v uintptr) { c.add(zap.Uintptr(key, v)) }

// OpenNamespace implements [zapcore.ObjectEncoder].
func (c *context) OpenNamespace(key string) { c.add(zap.Namespace(key)) }
