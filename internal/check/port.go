package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"
)

// ports sees that the ports which the edge publishes are free, or its own already, and that no other service publishes any.
func (c *Check) ports(ctx context.Context, s *stack) []Finding {
	var all []Finding
	for _, p := range s.edge.Ports {
		if p.Published == "" || p.Published == "0" || strings.Contains(p.Published, "-") { // any that is free
			continue
		}
		all = append(all, c.port(ctx, s, p))
	}
	if len(s.edge.Ports) == 0 && s.edge.NetworkMode != "host" {
		all = append(all, warning("port", "ports: [\"80:80\", \"443:443\", \"443:443/udp\"]", "%s publishes no port: nobody outside of Docker reaches it", c.Edge))
	}
	for _, other := range s.services() {
		for _, p := range other.Ports {
			if other != s.edge && p.HostIP != "127.0.0.1" && p.HostIP != "::1" {
				all = append(all, warning("port", "take it out of ports: whoever is on the network with it reaches it anyway, and others should come through the edge", "%s publishes port %s itself", other.name, p.Published))
			}
		}
	}
	return all
}

func (c *Check) port(ctx context.Context, s *stack, p port) Finding {
	protocol := p.Protocol
	if protocol == "" {
		protocol = "tcp"
	}
	name := fmt.Sprintf("%s port %s", strings.ToUpper(protocol), net.JoinHostPort(p.HostIP, p.Published))
	if p.HostIP == "" {
		name = fmt.Sprintf("%s port %s", strings.ToUpper(protocol), p.Published)
	}
	holder, ours := c.holder(ctx, s, p.Published+"/"+protocol)
	err := c.Listen(protocol, net.JoinHostPort(p.HostIP, p.Published))
	switch {
	case ours:
		return ok("port", "%s is published by %s", name, holder)
	// Without Docker's userland proxy nobody listens on a port that a container publishes.
	case holder != "" && (err != nil || p.HostIP == ""):
		return failure("port", "docker stop "+holder+", or publish another port: PUBLISH_HTTP and PUBLISH_HTTPS in .env", "%s is taken by the container %s", name, holder)
	case err == nil:
		return ok("port", "%s is free", name)
	case errors.Is(err, syscall.EADDRINUSE):
		return failure("port", fmt.Sprintf("see who has it (ss -lnp 'sport = :%s') and stop it, an nginx or Apache perhaps, or publish another port: PUBLISH_HTTP and PUBLISH_HTTPS in .env", p.Published), "%s is taken by another program", name)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return failure("port", "PUBLISH_HTTP and PUBLISH_HTTPS in .env name the address; ip address shows those that there are", "%s: this machine has no such address", name)
	default:
		return warning("port", "run it as root to know", "whether %s is free can't be told: %v", name, err)
	}
}

// holder returns the container that publishes a port, and whether it is the edge of this project.
func (c *Check) holder(ctx context.Context, s *stack, port string) (name string, ours bool) {
	if !s.engine {
		return "", false
	}
	const format = `{{.Names}} {{.Label "com.docker.compose.project"}}/{{.Label "com.docker.compose.service"}}`
	out, _, err := c.Docker.Run(ctx, "ps", "--filter", "publish="+port, "--format", format)
	if err != nil {
		return "", false
	}
	for line := range strings.Lines(out) {
		var of string
		name, of, _ = strings.Cut(trimmed(line), " ")
		if of == s.Name+"/"+c.Edge {
			return name, true
		}
	}
	return name, false
}

// listen tries whether a port is free. One that only root may listen on is asked for an answer instead.
func listen(network, address string) error {
	var err error
	if network == "udp" {
		var conn net.PacketConn
		if conn, err = net.ListenPacket(network, address); err == nil {
			return conn.Close()
		}
	} else {
		var ln net.Listener
		if ln, err = net.Listen(network, address); err == nil {
			return ln.Close()
		}
	}
	if !errors.Is(err, fs.ErrPermission) || network == "udp" {
		return err
	}
	host, port, splitErr := net.SplitHostPort(address)
	if splitErr != nil {
		return err
	}
	if host == "" {
		host = "127.0.0.1"
	}
	conn, dialErr := net.DialTimeout(network, net.JoinHostPort(host, port), time.Second)
	switch {
	case dialErr == nil:
		return errors.Join(syscall.EADDRINUSE, conn.Close())
	case errors.Is(dialErr, syscall.ECONNREFUSED):
		return nil
	}
	return err
}
