package preflight

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/theworklabs/edge/internal/compose"
)

// nonHTTPPorts are ports of protocols that the edge does not proxy: FTP, SSH, mail, DNS, LDAP, SIP, MQTT, RTMP, TURN.
var nonHTTPPorts = map[int]bool{
	21: true, 22: true, 25: true, 53: true, 110: true, 143: true, 389: true, 465: true, 587: true, 636: true, 853: true, 993: true,
	995: true, 1883: true, 1935: true, 2222: true, 3478: true, 5060: true, 5061: true, 5349: true, 8883: true,
}

// databasePorts are ports of databases, caches and message brokers. Only the services that use them should reach them.
var databasePorts = map[int]string{
	1433: "SQL Server", 3306: "MySQL or MariaDB", 5432: "PostgreSQL", 5672: "RabbitMQ", 6379: "Redis", 9042: "Cassandra", 9092: "Kafka",
	11211: "memcached", 27017: "MongoDB",
}

// checkPorts checks that each port of the host is published once, that it is free or already published by this stack, and that no
// service other than the edge publishes a port of HTTP.
func (c *Check) checkPorts(ctx context.Context, s *stack, config *edgeConfig) []Finding {
	all, contested := checkPortConflicts(s, config)
	edge := s.publisher()
	if socket := s.edge.Environment[compose.GateVariable]; socket != nil && *socket != "" && s.Gate(s.edge) == nil {
		all = append(all, errorFinding("port", "mount the directory of "+*socket+" in both services, or remove "+compose.GateVariable,
			"%s is to get its sockets at %s, and no other service mounts that: it can't start", s.edge.Name, *socket))
	}
	if len(edge.Ports) == 0 && edge.NetworkMode != "host" {
		all = append(all, warningFinding("port", "ports: [\"80:80\", \"443:443\", \"443:443/udp\"]", "%s publishes no port: no client outside of Docker reaches it", c.Edge))
	}
	for _, service := range s.activeServices() {
		for _, p := range service.Ports {
			if p.IsFixed() && service.NetworkMode != "host" && !contested[portKey(p)] {
				found := c.checkPort(ctx, s, service, p)
				if service == edge || found.Level != OK {
					all = append(all, found)
				}
			}
			if service != edge && service != s.edge {
				all = append(all, checkBypass(service, p)...)
			}
		}
	}
	return all
}

// publisher returns the service that publishes the ports of the edge: its gate, or the edge itself.
func (s *stack) publisher() *compose.Service {
	if gate := s.Gate(s.edge); gate != nil {
		return s.NetworkOwner(gate)
	}
	return s.NetworkOwner(s.edge)
}

// checkBypass reports a port by which clients can bypass the edge. It ignores ports that the edge cannot proxy: UDP and nonHTTPPorts.
// The TCP ports of a service that also publishes UDP, such as a call server, are only a note.
func checkBypass(of *compose.Service, p compose.Port) []Finding {
	if ip, err := netip.ParseAddr(p.HostIP); err == nil && ip.IsLoopback() {
		return nil
	}
	if p.Protocol != "tcp" || nonHTTPPorts[p.Target] || of.NetworkMode == "host" || of.Replicas() == 0 {
		return nil
	}
	for _, other := range of.Ports {
		if other.Protocol == "udp" {
			return []Finding{noteFinding("port", "leave it if it is not HTTP: the edge proxies nothing else", "%s publishes %s: clients can bypass the edge", of.Name, portText(p))}
		}
	}
	if database := databasePorts[p.Target]; database != "" {
		return []Finding{warningFinding("port", "take it out of ports, because containers reach it by the service's name; or publish it on 127.0.0.1 alone, for tools on this machine", "%s publishes %s (%s) on all networks of this machine", of.Name, portText(p), database)}
	}
	return []Finding{warningFinding("port", "take it out of ports: containers on its networks reach it without, and all others should use the edge", "%s publishes %s: clients can bypass the edge", of.Name, portText(p))}
}

// portText returns a port of the host for a message.
func portText(p compose.Port) string {
	suffix := ""
	if p.Protocol != "tcp" {
		suffix = "/" + p.Protocol
	}
	switch first, last := p.HostRange(); {
	case first == 0:
		return fmt.Sprintf("port %d%s (on a host port that Docker chooses)", p.Target, suffix)
	case first != last:
		return fmt.Sprintf("port %d%s (on one of the host ports %s)", p.Target, suffix, p.Published)
	case p.HostIP != "":
		return "port " + net.JoinHostPort(p.HostIP, p.Published) + suffix
	}
	return "port " + p.Published + suffix
}

// checkPort checks that a port of the host is free, or published by the service itself.
func (c *Check) checkPort(ctx context.Context, s *stack, of *compose.Service, p compose.Port) Finding {
	protocol, number := p.Protocol, p.Published
	name := fmt.Sprintf("%s port %s", strings.ToUpper(protocol), number)
	if p.HostIP != "" {
		name = fmt.Sprintf("%s port %s", strings.ToUpper(protocol), net.JoinHostPort(p.HostIP, number))
	}
	other := "publish another port"
	if of == s.edge || of == s.publisher() {
		other += ": PUBLISH_HTTP and PUBLISH_HTTPS in .env"
	}
	publisher, owner := c.findPublisher(ctx, s, of, number+"/"+protocol)
	err := c.TryListen(protocol, net.JoinHostPort(p.HostIP, number))
	switch {
	case owner == of.Name:
		return okFinding("port", "%s is published by %s", name, publisher)
	case owner == s.edge.Name:
		return noteFinding("port", "docker compose up -d, at a quiet time: "+owner+" is away for some seconds, once",
			"%s is published by %s, which runs from before it had a gate; now %s publishes it", name, publisher, of.Name)
	// Without Docker's userland proxy, no program listens on a port that a container publishes.
	case publisher != "" && (err != nil || p.HostIP == ""):
		return errorFinding("port", "docker stop "+publisher+", or "+other, "%s is taken by the container %s", name, publisher)
	case err == nil:
		return okFinding("port", "%s is free", name)
	case errors.Is(err, syscall.EADDRINUSE):
		return errorFinding("port", fmt.Sprintf("find the program (ss -lnp 'sport = :%s'), for example nginx or Apache, and stop it, or %s", number, other), "%s is taken by another program", name)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return errorFinding("port", "correct the address in PUBLISH_HTTP and PUBLISH_HTTPS in .env, or in ports of the compose file; ip address lists those of this machine", "%s: this machine has no such address", name)
	default:
		return warningFinding("port", "run edge check as root", "%s could not be tested: %v", name, err)
	}
}

// findPublisher returns the name of a container that publishes a port, or "", and its service if that is one of this project. It prefers a
// container of the service.
func (c *Check) findPublisher(ctx context.Context, s *stack, of *compose.Service, port string) (container, service string) {
	if !s.hasEngine {
		return "", ""
	}
	const format = `{{.Names}} {{.Label "com.docker.compose.project"}}/{{.Label "com.docker.compose.service"}}`
	out, _, err := c.Docker.Run(ctx, "ps", "--filter", "publish="+port, "--format", format)
	if err != nil {
		return "", ""
	}
	for line := range strings.Lines(out) {
		name, owner, _ := strings.Cut(strings.TrimSpace(line), " ") // PROJECT/SERVICE
		own, isOwn := strings.CutPrefix(owner, s.Name+"/")
		if !isOwn {
			own = ""
		}
		container, service = name, own
		if own == of.Name {
			break
		}
	}
	return container, service
}

// tryListen returns an error if a port is not free. If only root may listen on it, it tries to connect to the port instead.
func tryListen(network, address string) error {
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
