package presets

import (
	"time"

	"github.com/theworklabs/edge/modules/service"
)

// corteza is the CRM: one server with everything, its WebSocket at /api/websocket.
//
// The server pings its sockets every 108 s and gives up after 120 s; nothing here ends an idle one.
func corteza() preset {
	return preset{
		name: "corteza",
		// Metrics, the developers' console and debugging, which it serves to anyone.
		blockedPaths: []string{"/metrics", "/metrics/*", "/console*", "/debug*", "/__*"},
		// It has no cap of its own; its documentation's example has this one.
		maxBody:         1 << 30,
		responseTimeout: 5 * time.Minute,
		headers:         defaultSecurityHeaders(),
		// Not /auth/oauth2/token, which every page of everybody asks for when it is loaded.
		limits: defaultLimits("/auth/login*", "/auth/signup*", "/auth/mfa*", "/auth/request-password-reset*", "/auth/reset-password*"),
		backends: []backend{{
			name: "server", service: "corteza-server:80",
			// / answers 200 while it boots; /healthcheck too, but empty until the store is up.
			config: service.Config{Probe: &service.Probe{URIs: []string{"/healthcheck"}, Body: "PASS Primary store"}},
		}},
	}
}
