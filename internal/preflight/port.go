package preflight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// nonHTTPPorts are ports of protocols that an HTTP proxy can't serve: FTP, SSH, mail, DNS, LDAP, SIP, MQTT, RTMP, TURN.
var nonHTTPPorts = map[int]bool{
	21: true, 22: true, 25: true, 53: true, 110: true, 143: true, 389: true, 465: true, 587: true, 636: true, 853: true, 993: true,
	995: true, 1883: true, 1935: true, 2222: true, 3478: true, 5060: true, 5061: true, 5349: true, 8883: true,
}

// databasePorts are ports of databases, caches and message brokers, which nothing but the services that use them should reach.
var databasePorts = map[int]string{
	1433: "SQL Server", 3306: "MySQL or MariaDB", 5432: "PostgreSQL", 5672: "RabbitMQ", 6379: "Redis", 9042: "Cassandra", 9092: "Kafka",
	11211: "memcached", 27017: "MongoDB",
}

// checkPorts sees that each port of the host is published once, that what is published is free, or the stack's own already, and that
// no other service publishes what should come through the edge.
func (c *Check) checkPorts(ctx context.Context, s *stack, config *edgeConfig) []Finding {
	all, contested := checkPortConflicts(s, config)
	edge := s.networkOwner(s.edge)
	if len(edge.Ports) == 0 && edge.NetworkMode != "host" {
		all = append(all, warningFinding("port", "ports: [\"80:80\", \"443:443\", \"443:443/udp\"]", "%s publishes no port: nobody outside of Docker reaches it", c.Edge))
	}
	for _, service := range s.activeServices() {
		for _, p := range service.Ports {
			if p.isFixed() && service.NetworkMode != "host" && !contested[p.key()] {
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

// checkBypass reports a port that could be reached through the edge instead. UDP could not, nor what streams lists, nor the TCP ports
// of a service that publishes UDP: those of a call server.
func checkBypass(of *service, p port) []Finding {
	if ip, err := netip.ParseAddr(p.HostIP); err == nil && ip.IsLoopback() {
		return nil
	}
	if p.protocol() != "tcp" || nonHTTPPorts[p.Target] || of.NetworkMode == "host" || of.replicas() == 0 {
		return nil
	}
	for _, other := range of.Ports {
		if other.protocol() == "udp" {
			return []Finding{noteFinding("port", "leave it if it is not HTTP, which the edge does not proxy", "%s publishes %s itself", of.name, p)}
		}
	}
	if database := databasePorts[p.Target]; database != "" {
		return []Finding{warningFinding("port", "take it out of ports, since containers reach it by the service's name; or publish it at 127.0.0.1 alone, for tools on this machine", "%s publishes %s, that of %s, to every network of this machine", of.name, p.describe(), database)}
	}
	return []Finding{warningFinding("port", "take it out of ports: whoever is on the network with it reaches it anyway, and others should come through the edge", "%s publishes %s itself", of.name, p)}
}

func (p port) protocol() string { return cmp.Or(p.Protocol, "tcp") }

// isFixed reports whether the compose file names one port of the host. Docker chooses otherwise.
func (p port) isFixed() bool {
	first, last := p.hostRange()
	return first != 0 && first == last
}

// hostRange returns the ports of the host of which Docker takes one; 0 is any.
func (p port) hostRange() (first, last uint64) {
	from, to, isRange := strings.Cut(p.Published, "-")
	first, err := strconv.ParseUint(from, 10, 16)
	if err != nil || !isRange {
		return first, first
	}
	if last, err = strconv.ParseUint(to, 10, 16); err != nil {
		return 0, 0
	}
	return first, last
}

// describe is String at the end of a clause.
func (p port) describe() string { return strings.TrimSuffix(p.String(), ",") }

// String says which port of the host it is.
func (p port) String() string {
	kind := ""
	if p.protocol() != "tcp" {
		kind = "/" + p.protocol()
	}
	switch first, last := p.hostRange(); {
	case first == 0:
		return fmt.Sprintf("port %d%s, on a port of the host that Docker chooses,", p.Target, kind)
	case first != last:
		return fmt.Sprintf("port %d%s, on one of the host's ports %s,", p.Target, kind, p.Published)
	case p.HostIP != "":
		return "port " + net.JoinHostPort(p.HostIP, p.Published) + kind
	}
	return "port " + p.Published + kind
}

func (c *Check) checkPort(ctx context.Context, s *stack, of *service, p port) Finding {
	protocol, number := p.protocol(), p.Published
	name := fmt.Sprintf("%s port %s", strings.ToUpper(protocol), number)
	if p.HostIP != "" {
		name = fmt.Sprintf("%s port %s", strings.ToUpper(protocol), net.JoinHostPort(p.HostIP, number))
	}
	other := "publish another port"
	if of == s.edge {
		other += ": PUBLISH_HTTP and PUBLISH_HTTPS in .env"
	}
	holder, ours := c.findPublisher(ctx, s, of, number+"/"+protocol)
	err := c.TryListen(protocol, net.JoinHostPort(p.HostIP, number))
	switch {
	case ours:
		return okFinding("port", "%s is published by %s", name, holder)
	// Without Docker's userland proxy nobody listens on a port that a container publishes.
	case holder != "" && (err != nil || p.HostIP == ""):
		return errorFinding("port", "docker stop "+holder+", or "+other, "%s is taken by the container %s", name, holder)
	case err == nil:
		return okFinding("port", "%s is free", name)
	case errors.Is(err, syscall.EADDRINUSE):
		return errorFinding("port", fmt.Sprintf("see who has it (ss -lnp 'sport = :%s') and stop it, an nginx or Apache perhaps, or %s", number, other), "%s is taken by another program", name)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return errorFinding("port", "PUBLISH_HTTP and PUBLISH_HTTPS in .env, or ports in the compose file, name the address; ip address shows those that exist", "%s: this machine has no such address", name)
	default:
		return warningFinding("port", "run it as root to know", "whether %s is free can't be told: %v", name, err)
	}
}

// findPublisher returns the container that publishes a port, and whether it is one of a service of this project.
func (c *Check) findPublisher(ctx context.Context, s *stack, service *service, port string) (name string, ours bool) {
	if !s.hasEngine {
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
		if of == s.Name+"/"+service.name {
			return name, true
		}
	}
	return name, false
}

// tryListen tries whether a port is free. One that only root may listen on is asked for an answer instead.
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
