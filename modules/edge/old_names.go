package edge

import (
	"errors"
	"fmt"
	"os"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/modules/service"
)

// oldNames are the names that options had in earlier versions, and the current names. They are accepted until version 1.0.
var oldNames = map[string]string{
	"endpoint":      "docker_host",
	"drain_timeout": "terminating_timeout",
}

const (
	dockerHostVariable    = "EDGE_DOCKER_HOST"
	oldDockerHostVariable = "DOCKER_ENDPOINT"
)

// acceptOldNames moves the values of the fields with old names to the current ones, and logs a warning for each.
func (a *App) acceptOldNames() error {
	return errors.Join(
		acceptOldName(a.log, "endpoint", &a.Endpoint, &a.DockerHost),
		acceptOldName(a.log, "drain_timeout", &a.DrainTimeout, &a.TerminatingTimeout),
	)
}

func acceptOldName[T comparable](log *zap.Logger, name string, old, current *T) error {
	var unset T
	if *old == unset {
		return nil
	}
	if *current != unset {
		return errBothNames(name)
	}
	*current, *old = *old, unset
	log.Warn(renamedOption(name))
	return nil
}

// currentName returns the current name of the option in this line of the Caddyfile, and logs a warning if the line has the old one.
// given has the names in the earlier lines of the block, and gets that of this line. It is an error if the block has both names.
func currentName(d *caddyfile.Dispenser, given map[string]bool) (string, error) {
	name := d.Val()
	current, isOld := oldNames[name]
	if !isOld {
		current = name
	} else {
		caddy.Log().Warn(renamedOption(name), zap.String("file", d.File()), zap.Int("line", d.Line()))
	}
	for old, renamed := range oldNames {
		if renamed == current && (given[current] && isOld || given[old] && !isOld) {
			return "", d.WrapErr(errBothNames(old))
		}
	}
	given[name] = true
	return current, nil
}

func renamedOption(old string) string {
	return fmt.Sprintf("edge: the option %s is now called %s; the old name works until version 1.0", old, oldNames[old])
}

func errBothNames(old string) error {
	return fmt.Errorf("edge: %s is the old name of %s; give %[2]s only", old, oldNames[old])
}

// dockerHostArg reads the argument of docker_host, or of its old name. The shipped Caddyfile takes it from EDGE_DOCKER_HOST, and the
// one of earlier versions from DOCKER_ENDPOINT: if only one of the two variables is set, it counts for either Caddyfile. If both are set, the
// old one counts: compose.yaml sets the new one, so the old one comes from an override file, which can also have it empty (DNS alone).
func dockerHostArg(d *caddyfile.Dispenser, isOldName bool, to *string) error {
	if err := service.StringArg(d, to); err != nil {
		return err
	}
	host, hasHost := os.LookupEnv(dockerHostVariable)
	oldHost, hasOldHost := os.LookupEnv(oldDockerHostVariable)
	switch {
	case *to == "" && !isOldName && !hasHost && oldHost != "":
		*to = oldHost
		caddy.Log().Warn(fmt.Sprintf("edge: the variable %s is now called %s; the old name works until version 1.0", oldDockerHostVariable, dockerHostVariable))
	case *to == "" && isOldName && !hasOldHost && host != "":
		*to = host
		caddy.Log().Warn(fmt.Sprintf("edge: docker_host is %s, from the variable %s", host, dockerHostVariable))
	case !isOldName && hasHost && hasOldHost && host != oldHost && *to == host:
		*to = oldHost
		caddy.Log().Warn(fmt.Sprintf("edge: docker_host is %q, from the variable %s, which is now called %s; set only the new one", oldHost, oldDockerHostVariable, dockerHostVariable))
	}
	return nil
}
