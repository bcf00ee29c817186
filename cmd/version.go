package cmd

import (
	"cmp"
	"fmt"
	"runtime/debug"
)

const (
	modulePath = "github.com/theworklabs/edge"
	caddyPath  = "github.com/caddyserver/caddy/v2"
)

// release is the version of a release, which the linker sets where the build does not have the repository.
var release string

// Version returns the versions of the edge and of Caddy: Caddy's own command knows only the latter.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return describeVersion(info)
}

func describeVersion(info *debug.BuildInfo) string {
	versions := map[string]string{info.Main.Path: info.Main.Version}
	for _, m := range info.Deps {
		versions[m.Path] = m.Version
		if m.Replace != nil {
			versions[m.Path] = cmp.Or(m.Replace.Version, m.Version) + " (replaced by " + m.Replace.Path + ")"
		}
	}
	return fmt.Sprintf("edge %s, Caddy %s, %s", cmp.Or(release, versions[modulePath], "unknown"), cmp.Or(versions[caddyPath], "unknown"), info.GoVersion)
}
