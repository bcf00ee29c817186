package discovery

import (
	"context"
	"net/netip"

	"github.com/theworklabs/edge/internal/registry"
)

// Static is a fixed list of the addresses of each service, for demos, tests and backends that are not containers.
type Static map[string][]netip.AddrPort

// Run sets the list once, and waits until ctx ends.
func (s Static) Run(ctx context.Context, sink Sink) {
	for service, addrs := range s {
		members := make([]registry.Member, 0, len(addrs))
		for _, a := range addrs {
			members = append(members, registry.Member{
				ID: a.String(), Addr: a.Addr(), Port: a.Port(), Phase: registry.Running,
			})
		}
		sink.Set(service, members)
	}
	sink.SetOnline(true)
	<-ctx.Done()
}

var _ Source = Static(nil)
