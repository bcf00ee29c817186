package downstream_test

import (
	"strings"
	"testing"

	"github.com/theworklabs/edge/modules/downstream"
)

// spoofableHeaders are headers that applications, frameworks and other proxies read, by kind.
var spoofableHeaders = map[downstream.Kind]string{
	downstream.Address: `
		X-Real-IP X-Client-IP X-ClientIP Client-IP True-Client-IP X-True-Client-IP X-Remote-IP X-Remote-Addr Remote-Addr X-RemoteAddr
		X-Cluster-Client-IP CF-Connecting-IP CF-Connecting-IPv6 Fastly-Client-IP Fly-Client-IP X-Appengine-User-IP
		Proxy-Client-IP WL-Proxy-Client-IP X-Originating-IP X-Azure-ClientIP X-Azure-SocketIP-Client-IP X-Envoy-External-Address
		X-ProxyUser-IP X-Forwarded X-Forwarded-For X-Forwarded-For-IP X-Original-Forwarded-For Forwarded Forwarded-For
		Forwarded-For-IP X-Forwarded-User Z-Forwarded-For CloudFront-Viewer-Address Ali-CDN-Real-IP Cdn-Src-IP X-Sucuri-ClientIP
		Incap-Client-IP X-Client-Address X-Peer-Address X_Real_IP x.real.ip X-Real_IP X-REAL-IP X-Source-IP X-Nginx-Client-IP
		X-User-IP X-IP Akamai-Client-IP X-Client-IPv4 X-Backend-Remote-IP X-Original-IP X-Visitor-IP X-Sender-IP
		X-IP-Address IP-Address X-IPv4 X-Nf-Client-Connection-IP X-Forward-For X-Azure-SocketIP CF-Pseudo-IPv4 X-Request-IP
		X-Public-IP X-Real-IPs X-Client-IP-Port X-Orig-IP X-From-IP X-Proxy-IP X-Fwd-For`,
	downstream.Host: `
		X-Forwarded-Host X-Forwarded-Server X-Host X-HTTP-Host-Override X-Original-Host X-Real-Host X-Client-Host X_Host HTTP-Host
		X-Host-Override X-Remote-Host X-Envoy-Original-Host X-Request-Host X-Original-Hostname X-Real-Hostname X-Originating-Host
		X-Orig-Host`,
	downstream.Scheme: `
		X-Forwarded-Proto X-Forwarded-Protocol X-Forwarded-Scheme X-Forwarded-Ssl X-Forwarded-Port X-Scheme X-Url-Scheme
		X-Proto X-Original-Proto X-HTTPS Front-End-Https X-ProtoVersion X-Real-Port X-Original-Scheme X-Request-Scheme X-SSL
		X-Server-Port WL-Proxy-SSL CF-Visitor SSL-Offloaded X-ARR-SSL X-Remote-Port X-Client-Scheme X-Client-Proto X-Client-Port Https`,
	downstream.URL: `
		X-Original-URL X-Original-URI X-Rewrite-URL X-Rewrite-URI X-Forwarded-Prefix X-Forwarded-Uri X-Forwarded-Path
		X-Request-URI X-Original-Path X-Real-URL X-Script-Name X-Envoy-Original-Path X-MS-Original-URL X-Ingress-Path
		X-Replaced-Path X-Original-Prefix X-Request-URL X-Orig-URL Request-Uri Script-Name`,
	downstream.Certificate: `Client-Cert Client-Cert-Chain X-SSL-Client-Cert X-SSL-Client-Verify X-Client-Cert SSL-Client-S-DN`,
}

// harmlessHeaders are real headers that must pass: from browsers, HTTP's registry, APIs, webhooks, uploads, tracing and tests.
const harmlessHeaders = `
	Accept Accept-Charset Accept-Datetime Accept-Encoding Accept-Language Accept-Patch Accept-Post Accept-Ranges
	Access-Control-Request-Headers Access-Control-Request-Method Age Allow Alt-Used Authorization Cache-Control Cache-Status
	Cdn-Loop Connection Content-Digest Content-Disposition Content-Encoding Content-Language Content-Length Content-Location
	Content-MD5 Content-Range Content-Security-Policy Content-Type Cookie DNT DPoP DPR Date Depth Destination Device-Memory
	Downlink Early-Data ECT Expect Expires From Host Http2-Settings If If-Match If-Modified-Since If-None-Match If-Range
	If-Unmodified-Since Idempotency-Key Incremental Keep-Alive Last-Event-ID Last-Modified Link Lock-Token Max-Forwards Origin
	Overwrite Ping-From Ping-To Pragma Prefer Priority Proxy-Authorization Range Referer Repr-Digest RTT Save-Data
	Sec-CH-Prefers-Color-Scheme Sec-CH-UA Sec-CH-UA-Arch Sec-CH-UA-Full-Version Sec-CH-UA-Mobile Sec-CH-UA-Model
	Sec-CH-UA-Platform Sec-CH-Viewport-Width Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Sec-GPC Sec-Purpose
	Sec-WebSocket-Accept Sec-WebSocket-Extensions Sec-WebSocket-Key Sec-WebSocket-Protocol Sec-WebSocket-Version
	Service-Worker Service-Worker-Navigation-Preload Signature Signature-Input Slug SOAPAction Sourcemap TE Timeout Timing-Allow-Origin
	Trailer Transfer-Encoding Translate Tus-Resumable Upgrade Upgrade-Insecure-Requests Upload-Checksum Upload-Complete
	Upload-Concat Upload-Defer-Length Upload-Length Upload-Metadata Upload-Offset User-Agent Via Viewport-Width Want-Digest
	Warning Width X-Access-Token X-Accel-Buffering X-Amz-Content-Sha256 X-Amz-Date X-Amz-Security-Token X-Amz-Target
	X-Amzn-Trace-Id X-Anonymous-Id X-API-Key X-API-Version X-App-Name X-App-Version X-Atlassian-Token X-Auth-Token X-B3-Flags
	X-B3-ParentSpanId X-B3-Sampled X-B3-SpanId X-B3-TraceId X-Build-Id X-Bulk-Operation X-Cache-Hash X-Chunk-Index X-Client-Data
	X-Client-Id X-Client-Name X-Client-Platform X-Client-Request-Id X-Client-Secret X-Client-Session X-Client-Timezone
	X-Client-Trace-Id X-Client-Transaction-Id X-Client-Type X-Client-Version X-Cloud-Trace-Context X-Company-Id
	X-Content-Type-Options X-Correlation-Id X-CSRF-Token X-Csrftoken X-Currency X-Custom-Header X-Datadog-Parent-Id
	X-Datadog-Sampling-Priority X-Datadog-Trace-Id X-Debug X-Device-Id X-Device-Model X-Do-Not-Track X-Dropbox-Signature
	X-Email-Address X-Environment X-Event-Key X-Expected-Entity-Length X-Feature-Flags X-File-Name X-File-Path-Hash X-File-Size
	X-Filename X-Fingerprint X-From-Cache X-GitHub-Delivery X-GitHub-Event X-GitHub-Hook-Id X-Gitea-Event X-Gitlab-Event
	X-Gitlab-Token X-Goog-Api-Key X-Goog-Channel-Id X-Goog-Hash X-Goog-Upload-Command X-Goog-Upload-Offset X-Grafana-Org-Id
	X-HTTP-Method X-HTTP-Method-Override X-Hub-Signature X-Hub-Signature-256 X-Idempotency-Key X-Ijt X-Instance-Id X-Inertia
	X-Inertia-Partial-Data X-Inertia-Version X-Instagram-AJAX X-Lang X-Language X-Locale X-Method-Override X-Mobile-App
	X-Moz X-OC-Mtime X-Object-Meta-Description X-Order-Id X-Organization-Id X-Original-Filename X-Original-Name X-Original-Size
	X-Original-Title X-Page X-Parent-Id X-Partner-Id X-PingOther X-PJAX X-PJAX-Container X-Platform X-Prefer-User X-Prototype-Version
	X-Purpose X-Query-Id X-Ratelimit-Bypass X-Recipient X-Recipient-Id X-Relationship X-Region X-Remote-Branch X-Remote-Control
	X-Remote-Id X-Request-Id X-Request-Source X-Request-Start X-Request-Timestamp X-Requested-By X-Requested-With X-Robots-Tag
	X-Role X-Scope X-Sentry-Auth X-Sentry-Trace X-Session-Id X-Session-Token X-Shipment X-Ship-To X-Shopify-Hmac-Sha256
	X-Shopify-Shop-Domain X-Shopify-Topic X-Signature X-Skip X-Slack-Request-Timestamp X-Slack-Signature X-Socket-Id X-Source
	X-Source-File X-Source-Id X-Space X-Store-Id X-Stripe-Client-User-Agent X-Stripe-Signature X-Team-Id X-Telegram-Bot-Api-Secret-Token
	X-Tenant X-Tenant-Id X-Theme X-Timestamp X-Timezone X-Timezone-Offset X-Token X-Trace-Id X-Transaction-Id X-Twilio-Signature
	X-UIDH X-Upload-Content-Length X-Upload-Content-Type X-Upload-Id X-User-Address X-User-Agent X-User-Email X-User-Id
	X-User-Language X-User-Name X-User-Role X-User-Token X-Version X-Visitor-Id X-Wallet-Address X-Webhook-Id X-Webhook-Signature
	X-Window-Id X-WP-Nonce X-Workspace-Id X-Xsrf-Token X-Zip X-Zoom-Signature Baggage Traceparent Tracestate Uber-Trace-Id
	Sentry-Trace Stripe-Signature Svix-Id Svix-Signature Svix-Timestamp Webhook-Id Webhook-Signature Webhook-Timestamp Apollographql-Client-Name
	Apollographql-Client-Version Apollo-Require-Preflight Organization-Id Authorization-Url-Signature Next-Router-State-Tree Next-Url-Hash Rsc
	Turbo-Frame HX-Boosted HX-Current-Page HX-Request HX-Target HX-Trigger Docker-Content-Digest Git-Protocol-Version
	X-Protocol X-Client-Protocol X-Server-Url Server-Url Client-Url X-URL X-Path X-Port X-Request-Path X-User-Addr X-Sender-Addr
	X-Email-Forwarded X-Auto-Forwarded X-Callback-Url X-Base-Path X-Upload-Path X-Redirect-Uri X-Smtp-Host X-Database-Port
	OpenAI-Organization Anthropic-Version Notion-Version Paypal-Transmission-Id`

func TestHeadersThatIdentifyTheClientAreSpoofable(t *testing.T) {
	for want, names := range spoofableHeaders {
		for _, name := range strings.Fields(names) {
			if kind, ok := downstream.Spoofable(name); !ok || kind != want {
				t.Errorf("%s: got %t, %s; want true, %s", name, ok, kind, want)
			}
		}
	}
}

func TestHarmlessHeadersAreNotSpoofable(t *testing.T) {
	names := strings.Fields(harmlessHeaders)
	if len(names) < 200 {
		t.Errorf("the list has %d headers, want at least 200", len(names))
	}
	for _, name := range names {
		for _, spelled := range []string{name, strings.ToLower(name)} { // usual names are only known in their canonical spelling
			if kind, ok := downstream.Spoofable(spelled); ok {
				t.Errorf("%s is spoofable, of the kind %s; want it to pass", spelled, kind)
			}
		}
	}
}

func BenchmarkSpoofable(b *testing.B) {
	names := strings.Fields("Accept User-Agent Cookie X-Client-Version X-Request-Id Sec-Ch-Ua-Platform X-Organization-Id If-None-Match")
	b.ReportAllocs()
	for b.Loop() {
		for _, name := range names {
			downstream.Spoofable(name)
		}
	}
}
