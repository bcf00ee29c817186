package edge

import (
	"slices"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// activeLogs are loggers for what outlives configurations. They write to the logs of the configuration that is active when they
// write.
type activeLogs struct {
	edge atomic.Pointer[zap.Logger]
	http atomic.Pointer[zap.Logger]
}

// set makes the loggers write to those of a configuration.
func (l *activeLogs) set(edge, http *zap.Logger) {
	l.edge.Store(edge)
	l.http.Store(http)
}

// edgeLogger returns the logger "edge".
func (l *activeLogs) edgeLogger() *zap.Logger {
	return zap.New(dynamicCore{log: &l.edge}).Named("edge")
}

// named returns the logger "edge.NAME".
func (l *activeLogs) named(name string) *zap.Logger { return l.edgeLogger().Named(name) }

// access returns the logger "http.log.access".
func (l *activeLogs) access() *zap.Logger {
	return zap.New(dynamicCore{log: &l.http}).Named("http.log.access")
}

// AccessLog returns the logger http.log.access of the active configuration, for requests that may outlive the configuration that
// they arrived with.
func (a *App) AccessLog() *zap.Logger { return a.runtime.accessLog }

// httpApp stands for Caddy's app of that name, because access logs go to where the logs of that app go.
type httpApp struct{}

// CaddyModule returns the Caddy module information.
func (httpApp) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: "http"} }

// dynamicCore is a zap core that passes entries to the logger that is current when they are written.
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
