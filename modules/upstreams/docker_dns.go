// Package upstreams is the upstream source `dynamic docker_dns`, which gives the ready endpoints of a service to Caddy's own load
// balancing.
package upstreams

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/modules/edge"
	"github.com/theworklabs/edge/modules/service"
)

func init() {
	caddy.RegisterModule(new(DockerDNS))
}

// DockerDNS gives reverse_proxy the ready endpoints of a service. The edge knows them before a request arrives, so no request waits for
// a lookup.
//
// Prefer `edge_proxy`, which also holds requests while no endpoint is ready. Use this source for one of Caddy's own load balancing
// policies.
type DockerDNS struct {
	// The service, such as `bigcapital-server:3000`.
	Service string `json:"service"`

	service.Config

	service *registry.Service
}

// CaddyModule returns the Caddy module information.
func (*DockerDNS) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.upstreams.docker_dns",
		New: func() caddy.Module { return new(DockerDNS) },
	}
}

// Provision gets the service from the edge app.
func (u *DockerDNS) Provision(ctx caddy.Context) error {
	app, err := ctx.App("edge")
	if err != nil {
		return err
	}
	u.service, err = app.(*edge.App).Service(u.Service, u.Config)
	return err
}

// GetUpstreams returns an upstream for each ready endpoint. It creates new ones for each call, because reverse_proxy changes them.
func (u *DockerDNS) GetUpstreams(*http.Request) ([]*reverseproxy.Upstream, error) {
	addrs := u.service.ReadyAddresses()
	upstreams := make([]*reverseproxy.Upstream, len(addrs))
	for i, addr := range addrs {
		upstreams[i] = &reverseproxy.Upstream{Dial: addr}
	}
	return upstreams, nil
}

// UnmarshalCaddyfile parses the source and its block. Syntax:
//
//	dynamic docker_dns <service:port...> {
//		probe {
//			…            # see modules/edge
//		}
//	}
func (u *DockerDNS) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // docker_dns
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.Err("docker_dns: want a service, such as dynamic docker_dns bigcapital-server:3000")
	}
	var err error
	if u.Service, err = service.ParseNames(args); err != nil {
		return d.WrapErr(err)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if name != "probe" {
			return d.Errf("docker_dns: unknown option %q; there is probe (to hold requests, use edge_proxy)", name)
		}
		if _, err := u.UnmarshalLine(d); err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*DockerDNS)(nil)
	_ caddyfile.Unmarshaler       = (*DockerDNS)(nil)
	_ reverseproxy.UpstreamSource = (*DockerDNS)(nil)
)
