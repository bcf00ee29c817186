package logs

import (
	"crypto/tls"
	"net"
	"strconv"
	"strings"
)

// ecsFields takes the fields of an entry, with the names of the schema.
type ecsFields interface {
	text(name, value string) // nothing, if the value is ""
	number(name string, n int64)
	flag(name string, is bool)
	list(name, item string)
}

// The values of event.dataset.
const (
	logDataset    = "edge.log"
	accessDataset = "edge.access"
)

// addOutcome classifies the entry of a request. Those of the access log have the headers of the response, or how a socket was closed.
func addOutcome(to ecsFields, status int64, isOfAccessLog bool) {
	dataset, kind, outcome := logDataset, "error", "failure"
	if isOfAccessLog {
		dataset, kind = accessDataset, "access"
	}
	if status < 400 {
		outcome = "success"
	}
	to.text("event.dataset", dataset)
	to.list("event.category", "web")
	to.list("event.type", kind)
	to.text("event.outcome", outcome)
}

func addEndpoint(to ecsFields, address string) {
	to.text("destination.address", address)
	if ip, port, err := net.SplitHostPort(address); err == nil && net.ParseIP(ip) != nil {
		to.text("destination.ip", ip)
		addPort(to, "destination.port", port)
	}
}

func addPort(to ecsFields, name, port string) {
	if n, err := strconv.Atoi(port); err == nil {
		to.number(name, int64(n))
	}
}

func addURL(to ecsFields, host, uri string, isTLS bool) {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	if strings.Contains(name, ":") && !strings.HasPrefix(name, "[") {
		name = "[" + name + "]" // the schema keeps the brackets of IPv6
	}
	to.text("url.domain", name)
	addPort(to, "url.port", port)
	to.text("url.original", uri)
	path, query, _ := strings.Cut(uri, "?")
	to.text("url.path", path)
	to.text("url.query", query)
	scheme := "http"
	if isTLS {
		scheme = "https"
	}
	to.text("url.scheme", scheme)
}

func addTLSVersion(to ecsFields, version uint16) {
	to.text("tls.version_protocol", "tls")
	to.text("tls.version", strings.TrimPrefix(tls.VersionName(version), "TLS "))
}
