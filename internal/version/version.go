// Package version tells which edge, and which Caddy, runs.
package version

import (
	"cmp"
	"runtime/debug"
	"sync"
)

const (
	edgePath  = "github.com/theworklabs/edge"
	caddyPath = "github.com/caddyserver/caddy/v2"
)

// Versions are those of what a program was built from. A part that is not known is "unknown".
type Versions struct {
	Edge, Caddy, Go string
}

// Of returns the versions of a build. If release is not empty, it is the edge's.
func Of(info *debug.BuildInfo, release string) Versions {
	versions := map[string]string{info.Main.Path: info.Main.Version}
	for _, m := range info.Deps {
		versions[m.Path] = m.Version
		if m.Replace != nil {
			versions[m.Path] = cmp.Or(m.Replace.Version, m.Version) + " (replaced by " + m.Replace.Path + ")"
		}
	}
	return Versions{cmp.Or(release, versions[edgePath], "unknown"), cmp.Or(versions[caddyPath], "unknown"), info.GoVersion}
}

var (
	release string
	program = sync.OnceValue(func() Versions {
		info, ok := debug.ReadBuildInfo()
		if !ok {
			info = &debug.BuildInfo{GoVersion: "unknown"}
		}
		return Of(info, release)
	})
)

// SetRelease sets the edge's version, for builds that do not have the repository. It must be called before the first [Program].
func SetRelease(version string) { release = version }

// Program returns the versions of this program.
func Program() Versions { return program() }
