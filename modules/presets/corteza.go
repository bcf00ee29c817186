package presets

import (
	"time"

	"github.com/theworklabs/edge/modules/securityheaders"
	"github.com/theworklabs/edge/modules/service"
)

// corteza is the CRM: one server for everything, with a WebSocket at /api/websocket. The server pings its WebSockets every 108 s, and
// closes them after 120 s without a reply; the preset sets no idle timeout.
func corteza() preset {
	return preset{
		name: "corteza",
		// The server serves metrics, its developers' console and debugging to anyone.
		blockedPaths: []string{"/metrics", "/metrics/*", "/console*", "/debug*", "/__*"},
		// The server itself has no limit; this one is from the example in its documentation.
		maxBody:         1 << 30,
		responseTimeout: 5 * time.Minute,
		headers:         securityheaders.Default(),
		// Without /auth/oauth2/token, which every page requests when it loads.
		limits: defaultLimits("/auth/login*", "/auth/signup*", "/auth/mfa*", "/auth/request-password-reset*", "/auth/reset-password*"),
		backends: []backend{{
			name: "server", service: "corteza-server:80",
			// While the server boots, / and /healthcheck respond with 200; /healthcheck has an empty body until the store is up.
			config: service.Config{Probe: &service.Probe{URIs: []string{"/healthcheck"}, Body: "PASS Primary store"}},
		}},
	}
}
