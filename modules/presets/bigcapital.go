package presets

import (
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/modules/service"
)

// bigcapitalCSP names the hosts that BigCapital's pages load from or talk to: a style sheet, the banks' and the payments'
// widgets, and its S3 storage, whose host is the owner's. It is only reported (in the browser's console), not enforced:
// versions differ.
const bigcapitalCSP = "default-src 'self'; " +
	"script-src 'self' https://cdn.plaid.com https://js.stripe.com https://connect-js.stripe.com https://app.lemonsqueezy.com; " +
	"style-src 'self' 'unsafe-inline' https://cdnjs.cloudflare.com; " +
	"img-src 'self' data: blob: https:; font-src 'self' data:; " +
	"connect-src 'self' https://*.plaid.com https://*.stripe.com; " +
	"frame-src 'self' blob: https://cdn.plaid.com https://js.stripe.com https://connect-js.stripe.com https://*.lemonsqueezy.com; " +
	"worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"

// bigcapital is the accounting application: a web app, and a server with its API and its socket.io.
func bigcapital() preset {
	headers := defaultSecurityHeaders()
	headers.cspReportOnly = bigcapitalCSP
	return preset{
		name: "bigcapital",
		// Bull Board and Agenda's dashboard show and change jobs, and know no login.
		blockedPaths: []string{"/api/queues", "/api/queues/*", "/agendash", "/agendash/*"},
		// Attachments have no cap in the application: this is the only one.
		maxBody: 512 << 20,
		// PDFs are made while the client waits.
		responseTimeout: 5 * time.Minute,
		headers:         headers,
		// All that is posted there signs in, signs up, or asks for a new password, in every version.
		limits: defaultLimits("/api/auth/*"),
		backends: []backend{
			{
				name: "server", service: "bigcapital-server:3000",
				// Socket.IO is at /socket since February 2024, and at /socket.io before.
				paths: []string{"/api/*", "/socket.io/*", "/socket/*"},
				// Sockets are in the memory of one server, and uploads in several steps on its disk.
				affinity: []string{"socketio", "cookie"},
				config: service.Config{Probe: &service.Probe{
					// /api/system_db answers since V0.24.6, /api/ping up to v0.22; in between there is nothing to ask.
					URIs: []string{"/api/system_db", "/api/ping"}, TCPFallback: true,
					// The application counts probes among its requests: no oftener than every 10 s.
					Interval: caddy.Duration(15 * time.Second),
				}},
			},
			{
				name: "webapp", service: "bigcapital-webapp:80",
				config: service.Config{Probe: &service.Probe{URIs: []string{"/"}}},
				assets: []string{"/assets/*", "/static/js/*", "/static/css/*", "/static/media/*"},
			},
		},
	}
}
