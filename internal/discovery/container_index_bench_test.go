package discovery

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/registry"
)

// discardSink drops what it gets.
type discardSink struct{}

func (discardSink) Set(string, []registry.Member) {}
func (discardSink) Withdraw(string)               {}
func (discardSink) SetProblem(string, string)     {}
func (discardSink) SetOnline(bool)                {}

// BenchmarkContainerUpdate measures what one event costs that makes the edge list a container again: one of five of a project, alone or
// with those of 59 other projects whose services have the same names, on one network. The edge serves its own project.
func BenchmarkContainerUpdate(b *testing.B) {
	for _, projects := range []int{1, 60} {
		b.Run(fmt.Sprintf("projects=%d", projects), func(b *testing.B) {
			index := newContainerIndex(scope{})
			subnets := []netip.Prefix{netip.MustParsePrefix("10.0.0.2/16")}
			items := []container.Summary{newBenchContainer("p0", "edge", "10.0.0.2")}
			for p := range projects {
				for s := range 5 {
					items = append(items, newBenchContainer(fmt.Sprintf("p%d", p), []string{"web", "api", "worker", "cache", "db"}[s], fmt.Sprintf("10.0.%d.%d", p+1, s+1)))
				}
			}
			publisher := newPublisher(discardSink{}, nil, zap.NewNop())
			publisher.publish(index, index.applyFullList(items, subnets))
			if members, _ := index.members("web"); len(members) != 1 {
				b.Fatalf("web has %d members", len(members))
			}
			changed := items[1]
			ids := []string{changed.ID}
			b.ReportAllocs()
			for b.Loop() {
				publisher.publish(index, index.applyPartialList(ids, []container.Summary{changed}, subnets))
			}
		})
	}
}

func newBenchContainer(project, service, addr string) container.Summary {
	name := project + "-" + service + "-1"
	return container.Summary{
		ID: name, Names: []string{"/" + name}, State: container.StateRunning,
		Labels: map[string]string{labelProject: project, labelService: service, labelNumber: "1", labelOneOff: "False"},
		NetworkSettings: &container.NetworkSettingsSummary{Networks: map[string]*network.EndpointSettings{
			"shared": {IPAddress: netip.MustParseAddr(addr)},
		}},
	}
}
