//go:build !nodemo

package cmd

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/theworklabs/edge/modules/edge"
)

// statusSite is the site that the demo has besides those of the shipped Caddyfile.
const statusSite = `
status.localhost {
	edge_status {
		addresses_for private_ranges
	}
}
`

// caddyfileVariable matches a variable of the environment in a Caddyfile.
var caddyfileVariable = regexp.MustCompile(`\{\$([A-Z0-9_]+)`)

// demoConfig adapts the shipped Caddyfile for localhost, with the status page. It adds the addresses of the backends, and a storage that is removed
// with the demo for the internal certificate authority.
func demoConfig(caddyfile []byte, dir string, httpPort, httpsPort int, static map[string][]string) ([]byte, error) {
	variables := map[string]string{
		"DOMAIN": "localhost", "HTTP_PORT": strconv.Itoa(httpPort), "HTTPS_PORT": strconv.Itoa(httpsPort),
		"PUBLIC_HTTPS_PORT": strconv.Itoa(httpsPort), "EDGE_ADMIN": "unix/" + filepath.Join(dir, "admin.sock"),
	}
	// Those of the shell would change the demo: all others have their defaults.
	for _, name := range caddyfileVariable.FindAllSubmatch(caddyfile, -1) {
		if err := os.Unsetenv(string(name[1])); err != nil {
			return nil, err
		}
	}
	for name, value := range variables {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(slices.Concat(caddyfile, []byte(statusSite)), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return nil, fmt.Errorf("adapt the shipped Caddyfile: %w", err)
	}
	var config struct {
		caddy.Config
		Storage json.RawMessage            `json:"storage"`
		Apps    map[string]json.RawMessage `json:"apps"`
		Logging json.RawMessage            `json:"logging"`
	}
	if err := json.Unmarshal(adapted, &config); err != nil {
		return nil, err
	}
	config.Storage = caddyconfig.JSON(map[string]string{"module": "file_system", "root": dir}, nil)
	config.Logging = json.RawMessage(`{"logs": {"default": {"level": "ERROR"}}}`)
	var app edge.App
	if err := json.Unmarshal(config.Apps["edge"], &app); err != nil {
		return nil, err
	}
	app.Static = static
	if err := shortenGrace(config.Apps); err != nil {
		return nil, err
	}
	config.Apps["edge"] = caddyconfig.JSON(&app, nil)
	return json.Marshal(config)
}

// shortenGrace sets a short grace period, so that a demo stops although a browser has open requests.
func shortenGrace(apps map[string]json.RawMessage) error {
	var http map[string]json.RawMessage
	if err := json.Unmarshal(apps["http"], &http); err != nil {
		return err
	}
	http["grace_period"] = json.RawMessage(`"1s"`)
	apps["http"] = caddyconfig.JSON(http, nil)
	return nil
}
