package preflight

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/replication"
)

// What the proxies of compose.remote.yaml have, which stand for databases on another machine.
const (
	databasesHostVariable = "DATABASES_HOST"
	databasesPortVariable = "DATABASES_PORT"
	databasesClientPath   = "/run/databases/client.pem"
	databasesAuthority    = "/run/databases/authority.pem"
)

// How long another machine may take to connect, and then to refuse a client.
const (
	remoteTimeout  = 5 * time.Second
	refusalTimeout = time.Second
)

// checkRemoteDatabases connects to the databases on another machine as the stack's proxies do.
func (c *Check) checkRemoteDatabases(ctx context.Context, s *stack) []Finding {
	var all []Finding
	for _, service := range s.activeServices() {
		host := variable(service, databasesHostVariable)
		client, isMounted := service.HostPath(databasesClientPath)
		if host == "" || !isMounted || c.Offline {
			continue
		}
		authority, _ := service.HostPath(databasesAuthority)
		port := cmp.Or(variable(service, databasesPortVariable), "7432")
		replica := variable(service, replication.ReplicaVariable)
		if replica == "" {
			all = append(all, checkRemoteDatabase(ctx, service.Name, net.JoinHostPort(host, port), client, authority))
			continue
		}
		for _, d := range replication.Databases { // the service that watches both
			for _, of := range []string{host, replica} {
				all = append(all, checkRemoteDatabase(ctx, d.Service, net.JoinHostPort(of, port), client, authority))
			}
		}
	}
	return all
}

// checkRemoteDatabase connects to one database, whose name is that of its service, with a certificate that this machine's files have.
func checkRemoteDatabase(ctx context.Context, name, address, client, authority string) Finding {
	const kind = "database"
	const filesHint = "edge init --databases HOST writes the certificates of both machines"
	pair, err := tls.LoadX509KeyPair(client, client)
	if err != nil {
		return errorFinding(kind, filesHint, "%s: %v", name, err)
	}
	text, err := os.ReadFile(authority)
	if err != nil {
		return errorFinding(kind, filesHint, "%s: %v", name, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return errorFinding(kind, filesHint, "%s: %s has no certificate", name, authority)
	}
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	plain, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return errorFinding(kind, "is the service databases up there, at that address, and does a firewall let this machine through?", "%s is not reached at %s: %v", name, address, err)
	}
	defer plain.Close()
	conn := tls.Client(plain, &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS13})
	err = conn.HandshakeContext(ctx)
	if err == nil {
		// Whether the server takes the client's certificate, and has the database, shows now: some databases speak first, the others wait.
		_ = conn.SetReadDeadline(time.Now().Add(refusalTimeout))
		if _, err = conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
		}
	}
	_, isUntrusted := errors.AsType[*tls.CertificateVerificationError](err)
	operation, isNetwork := errors.AsType[*net.OpError](err)
	switch {
	case err == nil:
		return okFinding(kind, "%s is reached at %s", name, address)
	case isUntrusted, isNetwork && operation.Op == "remote error": // which is how crypto/tls reports an alert
		return errorFinding(kind, "both machines need the certificates that one edge init --databases has written, and the right time", "%s: the two machines do not trust each other: %v", name, err)
	}
	return errorFinding(kind, "look there at: docker compose ps, docker compose logs databases", "%s does not respond through %s: %v", name, address, err)
}

// variable returns the value of a service's environment variable; "" if it has none.
func variable(service *compose.Service, name string) string {
	if value := service.Environment[name]; value != nil {
		return *value
	}
	return ""
}
