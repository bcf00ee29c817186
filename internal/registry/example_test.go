package registry_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// A source writes what it sees of a service's containers. A request claims one of the ready endpoints, and releases it at its end.
func ExampleService_Acquire() {
	r := registry.New(registry.Options{OpenConns: func(string) registry.Conns { return new(fakeConns) }})
	defer r.Close()
	service, err := r.Declare("api:80")
	if err != nil {
		fmt.Println(err)
		return
	}
	service.Configure(registry.Settings{Hold: time.Minute})

	engine := r.Feed(registry.Engine)
	engine.Set("api", []registry.Member{{ID: "4e1f", Addr: netip.MustParseAddr("172.18.0.7"), Phase: registry.Running}})
	engine.SetOnline(true)

	claim, err := service.Acquire(context.Background(), registry.PickOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("the request goes to", claim.Endpoint().Address())
	claim.ReportSuccess()
	claim.Release()

	engine.Set("api", []registry.Member{{ID: "4e1f", Phase: registry.Stopped}})
	_, isReady := service.TryAcquire(registry.PickOptions{})
	fmt.Println("after the container has stopped:", isReady)
	// Output:
	// the request goes to 172.18.0.7:80
	// after the container has stopped: false
}
