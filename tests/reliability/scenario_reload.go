package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"time"

	"github.com/theworklabs/edge/tests/reliability/lab"
	"github.com/theworklabs/edge/tests/reliability/sockets"
)

// reloadEvery is how long a reload may take: they begin that far apart, or when the one before is done.
const reloadEvery = 300 * time.Millisecond

var reload = scenario{
	name: "reloads",
	what: "Every proxy reloads its configuration again and again, each by its own means, with 500 WebSockets open beside the load, " +
		"half of them over TLS. Half-way its certificate is changed.",
	promise: promise{sockets: true},
	run: func(ctx context.Context, s *stage, proxies []proxy) ([]Result, error) {
		proxies = slices.DeleteFunc(slices.Clone(proxies), func(p proxy) bool { return p.reload == nil })
		plain, secure := make([]*sockets.Crowd, len(proxies)), make([]*sockets.Crowd, len(proxies))
		for i, p := range proxies {
			for crowd, target := range map[*[]*sockets.Crowd]sockets.Target{
				&plain: p.socketsOf(controlHost), &secure: p.secureSocketsOf(controlHost),
			} {
				opened, err := sockets.Open(ctx, target, s.effort.Crowd/2)
				if err != nil {
					return nil, err
				}
				defer opened.Close()
				(*crowd)[i] = opened
			}
		}
		began := time.Now()
		results, err := s.observe(ctx, "reloads", proxies, func(ctx context.Context) error { return s.reloadAll(ctx, proxies) })
		if err != nil {
			return nil, err
		}
		for i := range results {
			results[i].ControlSockets = plain[i].Count(began, echoTime).Plus(secure[i].Count(began, echoTime))
			results[i].Notes = append(results[i].Notes, fmt.Sprintf("%d reloads, half of them with another certificate", s.effort.Reloads))
		}
		return results, nil
	},
}

// reloadAll reloads the proxies side by side, half of the times with the certificate that there is, and half with another
// one, which new connections must get.
func (s *stage) reloadAll(ctx context.Context, proxies []proxy) error {
	half := s.effort.Reloads / 2
	if err := sideBySide(proxies, func(p proxy) error { return s.reload(ctx, p, half) }); err != nil {
		return err
	}
	before := make(map[string]string)
	for _, p := range proxies {
		serial, err := p.certificate()
		if err != nil {
			return err
		}
		before[p.name] = serial
	}
	if err := lab.WriteCertificate(s.scratch, controlHost); err != nil {
		return err
	}
	return sideBySide(proxies, func(p proxy) error {
		if err := s.reload(ctx, p, s.effort.Reloads-half); err != nil {
			return err
		}
		if serial, err := p.certificate(); err != nil || serial == before[p.name] {
			return fmt.Errorf("%s still has the certificate %s (%w)", p.name, serial, err)
		}
		return nil
	})
}

// certificate returns the serial number of the certificate that a new connection gets.
func (p proxy) certificate() (serial string, err error) {
	target := p.secureSocketsOf(controlHost)
	conn, err := tls.Dial("tcp", target.Address, target.TLS)
	if err != nil {
		return "", fmt.Errorf("connect to %s over TLS: %w", p.name, err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

// reload reloads a proxy again and again.
func (s *stage) reload(ctx context.Context, p proxy, times int) error {
	id, err := s.project.Container(ctx, p.service)
	if err != nil {
		return err
	}
	args := slices.Clone(p.reload)
	args[1] = id
	if args[0] == "kill" { // its options come before the container
		args = []string{args[0], args[2], args[3], id}
	}
	for range times {
		next := time.Now().Add(reloadEvery)
		if _, err := lab.Docker(ctx, args...); err != nil {
			return fmt.Errorf("reload %s: %w", p.name, err)
		}
		if err := pass(ctx, time.Until(next)); err != nil {
			return err
		}
	}
	return nil
}
