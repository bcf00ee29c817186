package proxy_test

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/theworklabs/edge/modules/proxy"
	"github.com/theworklabs/edge/modules/service"
)

// A directive of another module proxies to a service: these are the handlers of its route.
func ExampleHandlers() {
	transport := &proxy.Transport{
		Service:  "api:80",
		Config:   service.Config{Hold: caddy.Duration(30 * time.Second)},
		Affinity: []string{"cookie"},
	}
	for _, handler := range proxy.Handlers(transport, new(reverseproxy.Handler)) {
		fmt.Println(string(handler))
	}
	// Output:
	// {"handler":"edge_proxy","transport":{"affinity":["cookie"],"hold":30000000000,"protocol":"edge","service":"api:80"}}
}
