package edge

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestAuditLogsUnfilteredDockerAPI: the log has one warning if the Docker host allows too much, and none if it does not.
func TestAuditLogsUnfilteredDockerAPI(t *testing.T) {
	for status, want := range map[int]string{
		http.StatusOK:        "does not refuse GET /info (it answered 200): an attacker who controls the edge controls this machine",
		http.StatusForbidden: "",
	} {
		engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/containers/json" {
				_, _ = w.Write([]byte("[]")) // the ping of the Docker client
				return
			}
			w.WriteHeader(status)
		}))
		core, logs := observer.New(zap.InfoLevel)
		auditedSource{dockerHost: "tcp://" + engine.Listener.Addr().String(), log: zap.New(core)}.audit(t.Context())
		engine.Close()
		switch {
		case want == "" && logs.Len() > 0:
			t.Errorf("a Docker host that refuses: the log has %v", logs.All())
		case want != "" && (logs.Len() != 1 || !strings.Contains(logs.All()[0].Message, want)):
			t.Errorf("the log has %v, want %s", logs.All(), want)
		}
	}
}
