package discovery

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"go.uber.org/zap"
)

// BenchmarkSwarmPoll measures one poll of a Swarm by one edge: services with three tasks each, of which the manager tells as the guard lets it. Services and
// nodes are not listed again. kB/poll is what crosses the network, heap-MB what the source keeps.
func BenchmarkSwarmPoll(b *testing.B) {
	for _, services := range []int{10, 100, 1000, 10_000} {
		b.Run(fmt.Sprintf("services=%d", services), func(b *testing.B) {
			manager := newBenchManager(b, services, 3)
			before := heapInUse()
			p := &swarmPoller{
				Swarm: Swarm{DockerHost: manager.host, Subnets: func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("10.0.0.2/8")} }, Log: zap.NewNop()},
				sink:  discardSink{}, index: newContainerIndex(scope{projects: []string{AnyProject}, networks: []string{"front"}}),
				publisher: newPublisher(discardSink{}, nil, zap.NewNop()),
			}
			api, closeClient, err := newEngineClient(p.DockerHost)
			if err != nil {
				b.Fatal(err)
			}
			defer closeClient()
			if err := p.poll(b.Context(), api); err != nil {
				b.Fatal(err)
			}
			if members, _ := p.index.members("s0"); len(members) != 4 { // the tasks, and the one that makes it known
				b.Fatalf("s0 has %d members", len(members))
			}
			kept := heapInUse() - before
			b.ReportAllocs()
			for b.Loop() {
				p.listedAt = time.Now()
				if err := p.poll(b.Context(), api); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(kept)/1e6, "heap-MB")
			b.ReportMetric(float64(manager.taskBytes)/1e3, "kB/poll")
		})
	}
}

func heapInUse() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// benchManager responds with the same texts each time.
type benchManager struct {
	host      string
	taskBytes int
}

func newBenchManager(b *testing.B, services, tasksEach int) *benchManager {
	b.Helper()
	type object = map[string]any
	var allServices, allTasks []object
	for s := range services {
		id := fmt.Sprintf("service-with-a-long-id-%d", s)
		allServices = append(allServices, object{"ID": id, "Spec": object{"Name": fmt.Sprintf("p_s%d", s), "Labels": object{labelStack: "p"}, "TaskTemplate": object{}}})
		for i := range tasksEach {
			n := s*tasksEach + i
			allTasks = append(allTasks, object{
				"ID": fmt.Sprintf("task-with-an-id-of-25-%d", n), "ServiceID": id, "Slot": i + 1, "NodeID": "n1", "DesiredState": "running",
				"Status": object{"State": "running"},
				"NetworksAttachments": []object{{
					"Network":   object{"ID": "network-with-an-id-of-25", "Spec": object{"Name": "front"}},
					"Addresses": []string{fmt.Sprintf("10.%d.%d.%d/8", n>>16, n>>8&255, n&255)},
				}},
			})
		}
	}
	nodes := []object{{"ID": "n1", "Description": object{"Hostname": "node-1"}, "Status": object{"State": "ready"}}}
	texts := make(map[string][]byte)
	for path, list := range map[string]any{"/v1.41/tasks": allTasks, "/v1.41/services": allServices, "/v1.41/nodes": nodes} {
		text, err := json.Marshal(list)
		if err != nil {
			b.Fatal(err)
		}
		texts[path] = text
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		_, _ = w.Write(texts[r.URL.Path])
	}))
	b.Cleanup(server.Close)
	return &benchManager{"tcp://" + server.Listener.Addr().String(), len(texts["/v1.41/tasks"])}
}

// BenchmarkDirectoryUpdate measures what one change of a service's containers costs among many services with three containers each, as the source kubernetes
// sees them. heap-MB is what the directory keeps.
func BenchmarkDirectoryUpdate(b *testing.B) {
	for _, services := range []int{10, 100, 1000, 10_000} {
		b.Run(fmt.Sprintf("services=%d", services), func(b *testing.B) {
			before := heapInUse()
			d := NewDirectory([]string{AnyProject}, discardSink{}, nil, zap.NewNop())
			all := make([]Service, services)
			for s := range all {
				all[s] = Service{Project: "p", Name: fmt.Sprintf("s%d", s), IsKnown: true}
				for i := range 3 {
					n := 3*s + i
					addr := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
					all[s].Containers = append(all[s].Containers, Container{ID: fmt.Sprintf("uid-%d", n), Name: fmt.Sprintf("s%d-%d", s, i), Addr: addr})
				}
			}
			d.Update(all)
			kept := heapInUse() - before
			b.ReportAllocs()
			for b.Loop() {
				d.Update(all[:1])
			}
			b.ReportMetric(float64(kept)/1e6, "heap-MB")
		})
	}
}
