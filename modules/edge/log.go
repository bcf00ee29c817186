package edge

import (
	"slices"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logger returns a logger for what outlives configurations: it writes to the log of whichever is in force.
func (l *runtime) logger(name string) *zap.Logger {
	return zap.New(dynamicCore{log: &l.log}).Named("edge").Named(name)
}

// AccessLog returns the logger http.log.access of whichever configuration is in force, for what is logged when the
// configuration that it came by may be gone.
func (a *App) AccessLog() *zap.Logger { return a.runtime.accessLog }

// httpApp stands for Caddy's app of that name, whose access logs go where the logs of the app go.
type httpApp struct{}

// CaddyModule returns the Caddy module information.
func (httpApp) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: "http"} }

// dynamicCore is a zap core that passes entries on to the logger that is current when they are written.
type dynamicCore struct {
	log    *atomic.Pointer[zap.Logger]
	fields []zapcore.Field
}

func (c dynamicCore) core() zapcore.Core { return c.log.Load().Core() }

// Enabled implements zapcore.Core.
func (c dynamicCore) Enabled(level zapcore.Level) bool { return c.core().Enabled(level) }

// With implements zapcore.Core.
func (c dynamicCore) With(fields []zapcore.Field) zapcore.Core {
	return dynamicCore{c.log, append(slices.Clip(c.fields), fields...)}
}

// Check implements zapcore.Core.
func (c dynamicCore) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

// Write implements zapcore.Core.
func (c dynamicCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if to := c.core().Check(e, nil); to != nil {
		to.Write(append(slices.Clip(c.fields), fields...)...)
	}
	return nil
}

// Sync implements zapcore.Core.
func (c dynamicCore) Sync() error { return c.core().Sync() }

var _ zapcore.Core = dynamicCore{}
