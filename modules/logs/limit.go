package logs

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

func init() {
	caddy.RegisterModule(new(LimitEncoder))
}

// LimitEncoder drops warnings and errors that repeat: an outage causes one for each request. Entries are alike if they come from the same place in
// the code, of the same logger, with the same service. The next entry that is written after the interval has the field `suppressed`: how many like it
// were dropped. Entries below the level of warnings are all written.
type LimitEncoder struct {
	// The encoder that writes the entries. Default: `json`, or `console` on a terminal.
	WrappedRaw json.RawMessage `json:"wrap,omitempty" caddy:"namespace=caddy.logging.encoders inline_key=format"`

	// The time in which First entries that are alike are written. Default: 10s.
	Interval caddy.Duration `json:"interval,omitempty"`

	// How many entries that are alike are written in each interval. Default: 10.
	First int `json:"first,omitempty"`

	wrapper
	contextEncoder
	*limiter
}

// The defaults of [LimitEncoder].
const (
	defaultInterval = 10 * time.Second
	defaultFirst    = 10
	// maxKinds bounds the memory of a limiter. Further kinds of entries are all written.
	maxKinds = 1000
)

// CaddyModule returns the Caddy module information.
func (*LimitEncoder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.encoders.limit", New: func() caddy.Module { return new(LimitEncoder) }}
}

// Provision loads the wrapped encoder.
func (e *LimitEncoder) Provision(ctx caddy.Context) error {
	if e.Interval < 0 || e.First < 0 {
		return errors.New("interval and first can't be negative")
	}
	e.limiter = &limiter{interval: time.Duration(e.Interval), first: e.First, kinds: make(map[string]*kind)}
	if e.interval == 0 {
		e.interval = defaultInterval
	}
	if e.first == 0 {
		e.first = defaultFirst
	}
	e.entries = e
	return e.load(ctx, e, e.WrappedRaw)
}

// UnmarshalCaddyfile reads
//
//	limit {
//		wrap     <encoder>
//		interval <duration>
//		first    <number>
//	}
func (e *LimitEncoder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalEncoder(d, &e.WrappedRaw, map[string]func(*caddyfile.Dispenser) error{
		"interval": func(d *caddyfile.Dispenser) error {
			if !d.NextArg() {
				return d.ArgErr()
			}
			interval, err := caddy.ParseDuration(d.Val())
			if err != nil || interval <= 0 {
				return d.Errf("interval %q: want a positive duration, such as 10s", d.Val())
			}
			e.Interval = caddy.Duration(interval)
			return nil
		},
		"first": func(d *caddyfile.Dispenser) error {
			if !d.NextArg() {
				return d.ArgErr()
			}
			n, err := strconv.Atoi(d.Val())
			if err != nil || n <= 0 {
				return d.Errf("first %q: want a number above 0", d.Val())
			}
			e.First = n
			return nil
		},
	})
}

// encode writes an entry, or nothing: a core writes the empty buffer, too, which adds nothing to a file or a stream.
func (e *LimitEncoder) encode(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	if entry.Level >= zapcore.WarnLevel {
		isAllowed, suppressed := e.allow(kindOf(entry, fields), entry.Time)
		if !isAllowed {
			return empty.Get(), nil
		}
		if suppressed > 0 {
			fields = append(fields, zap.Uint64("suppressed", suppressed))
		}
	}
	return e.wrapped.EncodeEntry(entry, fields)
}

var empty = buffer.NewPool()

// kindOf returns what entries that are alike have in common. Caddy names the place in the code of an HTTP error as err_trace; its message has the
// path of the request. The message of other entries is always the same.
func kindOf(entry zapcore.Entry, fields []zapcore.Field) string {
	place, service := entry.Message, ""
	for _, f := range fields {
		switch {
		case f.Key == "err_trace" && f.Type == zapcore.StringType:
			place, _, _ = strings.Cut(entry.Message, ": ") // the service
			place += "\x00" + f.String
		case f.Key == "service" && f.Type == zapcore.StringType:
			service = f.String
		case f.Type == zapcore.InlineMarshalerType:
			if request, ok := f.Interface.(*RequestFields); ok && request.Service != "" {
				service = request.Service
			}
		}
	}
	return entry.Level.String() + "\x00" + entry.LoggerName + "\x00" + service + "\x00" + place
}

// limiter counts the entries of each kind. It is safe for concurrent use.
type limiter struct {
	interval time.Duration
	first    int

	mu    sync.Mutex
	kinds map[string]*kind
}

// kind is the present interval of one kind of entries.
type kind struct {
	start      time.Time
	count      int
	suppressed uint64 // since the last entry that was written
}

// allow reports whether an entry is written, and how many like it were not since the last one that was.
func (l *limiter) allow(key string, now time.Time) (isAllowed bool, suppressed uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kinds[key]
	if k == nil {
		if len(l.kinds) >= maxKinds {
			l.forget(now)
		}
		if len(l.kinds) >= maxKinds {
			return true, 0
		}
		k = &kind{start: now}
		l.kinds[key] = k
	}
	if now.Sub(k.start) >= l.interval {
		k.start, k.count = now, 0
	}
	if k.count >= l.first {
		k.suppressed++
		return false, 0
	}
	k.count++
	suppressed, k.suppressed = k.suppressed, 0
	return true, suppressed
}

// forget forgets the kinds whose interval is over and of which all was written. The caller holds l.mu.
func (l *limiter) forget(now time.Time) {
	for key, k := range l.kinds {
		if now.Sub(k.start) >= l.interval && k.suppressed == 0 {
			delete(l.kinds, key)
		}
	}
}

// Interface guards
var (
	_ caddy.Provisioner                = (*LimitEncoder)(nil)
	_ caddy.ConfiguresFormatterDefault = (*LimitEncoder)(nil)
	_ caddyfile.Unmarshaler            = (*LimitEncoder)(nil)
	_ zapcore.Encoder                  = (*LimitEncoder)(nil)
)
