package logs

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/logging"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// point is an object that changes.
type point map[string]int

// MarshalLogObject implements [zapcore.ObjectMarshaler].
func (p point) MarshalLogObject(to zapcore.ObjectEncoder) error {
	for name, n := range p {
		to.AddInt(name, n)
	}
	return nil
}

// contextFields are fields of all types.
func contextFields() []zap.Field {
	return []zap.Field{
		zap.Bool("a", true), zap.Binary("b", []byte("x")), zap.ByteString("c", []byte("y")), zap.Complex128("d", 1+2i), zap.Complex64("e", 1), zap.Duration("f", time.Second),
		zap.Float64("g", 1.5), zap.Float32("h", 0.1), zap.Int("i", -1), zap.Int64("j", 1<<60), zap.Int32("k", 2), zap.Int16("l", 3), zap.Int8("m", 4), zap.String("n", "text"),
		zap.Time("o", time.Unix(1, 0).UTC()), zap.Uint("p", 5), zap.Uint64("q", 1<<63), zap.Uint32("r", 6), zap.Uint16("s", 7), zap.Uint8("t", 8), zap.Uintptr("u", 9),
		zap.Strings("v", []string{"a", "b"}), zap.Any("w", map[string]any{"k": []int{1}}), zap.Error(errors.New("refused")), zap.Object("x", point{"y": 1}), zap.Inline(point{"inline": 1}),
		zap.Stringer("z", time.Second), zap.Reflect("nil", nil), zap.Namespace("space"), zap.Int("inside", 1),
	}
}

// TestTheContextIsWrittenAsCaddyWritesIt, and does not change with what was added to it, nor with another logger of the same origin.
func TestTheContextIsWrittenAsCaddyWritesIt(t *testing.T) {
	want, wantOut := newLogger(t, new(logging.JSONEncoder), "json")
	for text, encoder := range map[string]zapcore.Encoder{"redact": new(RedactEncoder), "limit": new(LimitEncoder)} {
		log, out := newLogger(t, encoder, text)
		want.With(contextFields()...).Info("m", zap.Int("own", 1))
		log.With(contextFields()...).Info("m", zap.Int("own", 1))
		got, expected := decode(t, out.Bytes()), decode(t, wantOut.Bytes())
		delete(got, "ts")
		delete(expected, "ts")
		if !reflect.DeepEqual(got, expected) {
			t.Errorf("%s wrote\n%v, want\n%v", text, got, expected)
		}
		out.Reset()
		wantOut.Reset()

		object, header, value, bytes := point{"y": 1}, http.Header{"Via": {"a"}}, map[string]int{"k": 1}, []byte("abc")
		first := log.With(zap.Object("object", object), zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: header}), zap.Any("value", value), zap.Binary("bytes", bytes))
		object["y"], header["Via"][0], value["k"], bytes[0] = 2, "b", 2, 'x'
		second, third := first.With(zap.Int("second", 2)), first.With(zap.Int("third", 3))
		for i, l := range []*zap.Logger{first, second, third} {
			l.Info("m")
			line := decode(t, out.Bytes())
			maps.DeleteFunc(line, func(name string, _ any) bool { return name == "ts" || name == "level" || name == "msg" })
			want := map[string]any{"object": map[string]any{"y": 1.0}, "resp_headers": map[string]any{"Via": []any{"a"}}, "value": map[string]any{"k": 1.0}, "bytes": "YWJj"}
			if i > 0 {
				want[[]string{"second", "third"}[i-1]] = float64(i + 1)
			}
			if !reflect.DeepEqual(line, want) {
				t.Errorf("%s, logger %d wrote %v, want %v", text, i, line, want)
			}
			out.Reset()
		}
	}
}

// TestManyWriteAtOnce is for the race detector: loggers share the memory of fields.
func TestManyWriteAtOnce(t *testing.T) {
	encoder := new(RedactEncoder)
	newLogger(t, encoder, "redact")
	log := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(io.Discard), zapcore.DebugLevel)).With(zap.String("uri", "/?token=s3cr3t"))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 200 {
				log.With(zap.Int("i", i)).Info("m", accessFields()...)
			}
		})
	}
	all.Wait()
}
