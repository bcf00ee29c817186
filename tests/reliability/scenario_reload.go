package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"time"

	"github.com/theworklabs/edge/tests/harness"
	"github.com/theworklabs/edge/tests/reliability/lab"
	"github.com/theworklabs/edge/tests/reliability/sockets"
)

// reloadInterval is the time between the beginnings of two reloads, if a reload does not take longer.
const reloadInterval = 300 * time.Millisecond

var reloads = scenario{
	name: "reloads",
	what: "Every proxy reloads its configuration many times, as its manual recommends, with 500 open WebSockets, half of them over TLS. " +
		"Half-way its certificate changes.",
	promise: promise{sockets: true},
	run: func(ctx context.Context, s *testbed, proxies []proxy) ([]Result, error) {
		proxies = slices.DeleteFunc(slices.Clone(proxies), func(p proxy) bool { return p.reloadArgs == nil })
		plain, secure := make([]*sockets.Group, len(proxies)), make([]*sockets.Group, len(proxies))
		for i, p := range proxies {
			for groups, target := range map[*[]*sockets.Group]sockets.Target{
				&plain: p.socketTarget(controlHost), &secure: p.tlsSocketTarget(controlHost),
			} {
				opened, err := sockets.Open(ctx, target, s.effort.Crowd/2)
				if err != nil {
					return nil, err
				}
				defer opened.Close()
				(*groups)[i] = opened
			}
		}
		began := time.Now()
		results, err := s.observe(ctx, "reloads", proxies, func(ctx context.Context) error { return s.reloadAll(ctx, proxies) })
		if err != nil {
			return nil, err
		}
		for i := range results {
			results[i].ControlSockets = plain[i].Count(began, echoTimeout).Plus(secure[i].Count(began, echoTimeout))
			results[i].Notes = append(results[i].Notes, fmt.Sprintf("%d reloads, half of them with another certificate", s.effort.Reloads))
		}
		return results, nil
	},
}

// reloadAll reloads all proxies concurrently, half of the times with the old certificate, and half with a new one. It fails if new
// connections do not get the new certificate.
func (s *testbed) reloadAll(ctx context.Context, proxies []proxy) error {
	half := s.effort.Reloads / 2
	if err := forEachProxy(proxies, func(p proxy) error { return s.reload(ctx, p, half) }); err != nil {
		return err
	}
	before := make(map[string]string)
	for _, p := range proxies {
		serial, err := p.certificateSerial()
		if err != nil {
			return err
		}
		before[p.name] = serial
	}
	if err := lab.WriteCertificate(s.tempDir, controlHost); err != nil {
		return err
	}
	return forEachProxy(proxies, func(p proxy) error {
		if err := s.reload(ctx, p, s.effort.Reloads-half); err != nil {
			return err
		}
		if serial, err := p.certificateSerial(); err != nil || serial == before[p.name] {
			return fmt.Errorf("%s still has the certificate %s (%w)", p.name, serial, err)
		}
		return nil
	})
}

// certificateSerial returns the serial number of the certificate that a new connection gets.
func (p proxy) certificateSerial() (serial string, err error) {
	target := p.tlsSocketTarget(controlHost)
	conn, err := tls.Dial("tcp", target.Address, target.TLS)
	if err != nil {
		return "", fmt.Errorf("connect to %s over TLS: %w", p.name, err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

// reload reloads a proxy several times.
func (s *testbed) reload(ctx context.Context, p proxy, times int) error {
	id, err := s.project.Container(ctx, p.service)
	if err != nil {
		return err
	}
	args := slices.Clone(p.reloadArgs)
	args[1] = id
	if args[0] == "kill" { // the container is the last argument of docker kill
		args = []string{args[0], args[2], args[3], id}
	}
	for range times {
		next := time.Now().Add(reloadInterval)
		if _, err := harness.RunDocker(ctx, args...); err != nil {
			return fmt.Errorf("reload %s: %w", p.name, err)
		}
		if err := sleep(ctx, time.Until(next)); err != nil {
			return err
		}
	}
	return nil
}
