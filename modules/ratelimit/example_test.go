package ratelimit_test

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/theworklabs/edge/modules/ratelimit"
)

// Each client may log in to each host ten times a minute, and five times at once.
func ExampleHandler() {
	handler := &ratelimit.Handler{Zones: []*ratelimit.Zone{{
		Name: "login", Key: []string{"client_ip", "host"}, Events: 10, Window: caddy.Duration(time.Minute), Burst: 5,
	}}}
	fmt.Println(string(caddyconfig.JSONModuleObject(handler, "handler", "rate_limit", nil)))
	// Output:
	// {"handler":"rate_limit","zones":[{"burst":5,"events":10,"key":["client_ip","host"],"name":"login","window":60000000000}]}
}
