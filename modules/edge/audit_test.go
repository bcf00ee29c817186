package edge

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/theworklabs/edge/internal/discovery"
)

// TestAuditLogsUnfilteredDockerAPI, once, and nothing of one that is what it should be.
func TestAuditLogsUnfilteredDockerAPI(t *testing.T) {
	for status, want := range map[int]string{
		http.StatusOK:        "does not refuse GET /info (it answered 200): an attacker who controls the edge controls this machine",
		http.StatusForbidden: "",
	} {
		engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/containers/json" {
				_, _ = w.Write([]byte("[]")) // the client is there
				return
			}
			w.WriteHeader(status)
		}))
		core, said := observer.New(zap.InfoLevel)
		auditedEngine{discovery.Engine{DockerHost: "tcp://" + engine.Listener.Addr().String()}, zap.New(core)}.audit(t.Context())
		engine.Close()
		switch {
		case want == "" && said.Len() > 0:
			t.Errorf("of one that refuses: %v", said.All())
		case want != "" && (said.Len() != 1 || !strings.Contains(said.All()[0].Message, want)):
			t.Errorf("%v, want %s", said.All(), want)
		}
	}
}
