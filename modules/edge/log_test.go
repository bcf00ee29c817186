package edge

import (
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestLoggerWritesToActiveLog(t *testing.T) {
	first, firstLog := observer.New(zap.InfoLevel)
	second, secondLog := observer.New(zap.WarnLevel)
	l := new(activeLogs)
	l.set(zap.New(first), zap.NewNop())
	log := l.named("probe").With(zap.String("service", "api:80"))
	log.Info("one")
	l.set(zap.New(second), zap.NewNop())
	log.Info("two: below the level of the second")
	log.Warn("three", zap.Int("n", 3))
	if firstLog.Len() != 1 || secondLog.Len() != 1 {
		t.Fatalf("%d and %d entries, want 1 and 1", firstLog.Len(), secondLog.Len())
	}
	entry := secondLog.All()[0]
	if entry.LoggerName != "edge.probe" || entry.Message != "three" || entry.ContextMap()["service"] != "api:80" || entry.ContextMap()["n"] != int64(3) {
		t.Errorf("got %+v %v", entry.Entry, entry.ContextMap())
	}
}
