package edge_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

func TestAdminAPITakesReportsOfBackups(t *testing.T) {
	newThreeServiceEdge(t)
	const report = `{"project": "shop", "time": "2026-11-26T03:01:00Z", "max_age_seconds": 3600, "drill_interval_seconds": 86400,
		"backups": [{"app": "crm", "set": "s", "recovery_point": "2026-11-26T03:00:00Z", "seconds": 60, "size": 1, "added": 1}]}`
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		w, err := adminRequest(t, method, "/edge/backups", report)
		if err != nil || !strings.Contains(w.Body.String(), `"recovery_point":"2026-11-26T03:00:00Z"`) {
			t.Errorf("%s: %v, %s", method, err, w.Body)
		}
	}
	for _, body := range []string{`x`, `{"project": "shop"}`, `{"unknown": 1}`} {
		_, err := adminRequest(t, http.MethodPost, "/edge/backups", body)
		apiErr, ok := errors.AsType[caddy.APIError](err)
		if !ok || apiErr.HTTPStatus != http.StatusBadRequest {
			t.Errorf("%s: got %v, want 400", body, err)
		}
	}
}
