package replication

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// The variables of the service `replication`, most of which are in .env.
const (
	HostVariable           = "DATABASES_HOST"
	ReplicaVariable        = "DATABASES_REPLICA"
	WithoutReplicaVariable = "DATABASES_WITHOUT_REPLICA"
	EpochVariable          = "DATABASES_EPOCH"
	portVariable           = "DATABASES_PORT"
	clientVariable         = "REPLICATION_CERTIFICATE"
	authorityVariable      = "REPLICATION_AUTHORITY"
	mariadbVariable        = "MARIADB_ROOT_PASSWORD"
	postgresUserVariable   = "POSTGRES_USER"
	postgresVariable       = "POSTGRES_PASSWORD"
	postgresNameVariable   = "POSTGRES_DB"
)

const defaultPort = "7432"

// dialTimeout bounds how long a host may take to let a client in.
const dialTimeout = 3 * time.Second

// Config says where the two hosts are, and how their databases are reached.
type Config struct {
	Primary, Replica string // the hosts
	Policy           Policy
	Epoch            int // how often a replica was promoted

	port             string
	tls              *tls.Config // without a server name
	mariadbPassword  string
	postgresUser     string
	postgresPassword string
	postgresName     string
}

// ConfigFromEnvironment reads the configuration of this process.
func ConfigFromEnvironment() (*Config, error) {
	return newConfig(os.Getenv, func(path string) string { return path })
}

// ConfigFromService reads the configuration from the service `replication` of a stack.
func ConfigFromService(s *compose.Service) (*Config, error) {
	return newConfig(func(name string) string {
		if value := s.Environment[name]; value != nil {
			return *value
		}
		return ""
	}, func(path string) string {
		source, _ := s.HostPath(path)
		return source
	})
}

func newConfig(variable func(string) string, hostPath func(string) string) (*Config, error) {
	c := &Config{
		Primary: variable(HostVariable), Replica: variable(ReplicaVariable), port: cmp.Or(variable(portVariable), defaultPort),
		mariadbPassword: variable(mariadbVariable), postgresUser: variable(postgresUserVariable), postgresPassword: variable(postgresVariable), postgresName: variable(postgresNameVariable),
	}
	for _, name := range []string{HostVariable, ReplicaVariable, mariadbVariable, postgresUserVariable, postgresVariable, postgresNameVariable, clientVariable, authorityVariable} {
		if variable(name) == "" {
			return nil, hint.New(fmt.Errorf("%s is not set", name), "compose.replicated.yaml sets it, from .env")
		}
	}
	if c.Primary == c.Replica {
		return nil, hint.New(fmt.Errorf("%s and %s are both %s", HostVariable, ReplicaVariable, c.Primary), "they are the hosts of the primary and of the replica")
	}
	var err error
	if c.Policy, err = ParsePolicy(variable(WithoutReplicaVariable)); err != nil {
		return nil, hint.New(err, "docs/replication.md")
	}
	if text := variable(EpochVariable); text != "" {
		if c.Epoch, err = strconv.Atoi(text); err != nil {
			return nil, hint.New(fmt.Errorf("%s is %q: want a number", EpochVariable, text), "edge replica promote writes it; it is how often that was done")
		}
	}
	if c.tls, err = clientTLS(hostPath(variable(clientVariable)), hostPath(variable(authorityVariable))); err != nil {
		return nil, hint.New(err, "edge init --replica HOST writes the certificates")
	}
	return c, nil
}

// clientTLS returns the settings of connections with a certificate for the servers of an authority.
func clientTLS(client, authority string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(client, client)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(authority)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate", authority)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, MinVersion: tls.VersionTLS13}, nil
}

// Swapped returns the configuration in which the replica is the primary.
func (c *Config) Swapped() *Config {
	swapped := *c
	swapped.Primary, swapped.Replica = c.Replica, c.Primary
	return &swapped
}

// dial connects to a database on a host. The host knows by the name in TLS which one is meant.
func (c *Config) dial(ctx context.Context, host, service string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	plain, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, c.port))
	if err != nil {
		return nil, err
	}
	config := c.tls.Clone()
	config.ServerName = service
	conn := tls.Client(plain, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	return conn, nil
}
