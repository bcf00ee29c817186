package presets

import (
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/modules/securityheaders"
	"github.com/theworklabs/edge/modules/service"
)

// bigcapitalCSP has the hosts that BigCapital's pages use: for a style sheet, for the widgets of banks and payment providers, and
// for its S3 storage, whose host the owner chooses. Browsers only report violations (in their console) and block nothing, because
// the versions of BigCapital differ.
const bigcapitalCSP = "default-src 'self'; " +
	"script-src 'self' https://cdn.plaid.com https://js.stripe.com https://connect-js.stripe.com https://app.lemonsqueezy.com; " +
	"style-src 'self' 'unsafe-inline' https://cdnjs.cloudflare.com; " +
	"img-src 'self' data: blob: https:; font-src 'self' data:; " +
	"connect-src 'self' https://*.plaid.com https://*.stripe.com; " +
	"frame-src 'self' blob: https://cdn.plaid.com https://js.stripe.com https://connect-js.stripe.com https://*.lemonsqueezy.com; " +
	"worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"

// bigcapital is the accounting application: a web app, and a server with its API and Socket.IO.
func bigcapital() preset {
	headers := securityheaders.Default()
	headers.CSPReportOnly = bigcapitalCSP
	return preset{
		name: "bigcapital",
		// Bull Board and Agenda's dashboard show and change jobs, without a login.
		blockedPaths: []string{"/api/queues", "/api/queues/*", "/agendash", "/agendash/*"},
		// The application itself does not limit the size of attachments.
		maxBody: 512 << 20,
		// The server makes PDFs while the client waits.
		responseTimeout: 5 * time.Minute,
		headers:         headers,
		// In every version, each POST there signs in, signs up, or asks for a new password.
		limits: defaultLimits("/api/auth/*"),
		backends: []backend{
			{
				name: "server", service: "bigcapital-server:3000",
				// Socket.IO is at /socket since February 2024, and at /socket.io before.
				paths: []string{"/api/*", "/socket.io/*", "/socket/*"},
				// A server keeps its sockets in memory, and the parts of an upload on its disk.
				affinity: []string{"socketio", "cookie"},
				config: service.Config{Probe: &service.Probe{
					// /api/system_db exists since v0.24.6, /api/ping up to v0.22; the versions between them have no such path.
					URIs: []string{"/api/system_db", "/api/ping"}, TCPFallback: true,
					// The application counts probes in its rate limit, so they are at least 10 s apart.
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
