package edge_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/theworklabs/edge/modules/edge"
)

// A program that generates configurations sets the app's options in Go.
func ExampleApp() {
	app := &edge.App{DockerHost: "tcp://docker-guard:2375", Hold: caddy.Duration(30 * time.Second)}
	config := caddy.Config{AppsRaw: caddy.ModuleMap{"edge": caddyconfig.JSON(app, nil)}}
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(text))
	// Output:
	// {
	//   "apps": {
	//     "edge": {
	//       "docker_host": "tcp://docker-guard:2375",
	//       "hold": 30000000000
	//     }
	//   }
	// }
}
