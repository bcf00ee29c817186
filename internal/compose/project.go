package compose

import "slices"

// Project selects a Compose project, by the flags of `docker compose`. The zero Project is the one that `docker compose` finds
// without flags.
type Project struct {
	Name      string
	Directory string
	Files     []string
	EnvFiles  []string
	Profiles  []string
}

// Args returns the arguments of docker that run a command of Compose on the project.
func (p Project) Args(args ...string) []string {
	all := []string{"compose"}
	add := func(flag string, values ...string) {
		for _, v := range values {
			if v != "" {
				all = append(all, flag, v)
			}
		}
	}
	add("--project-name", p.Name)
	add("--project-directory", p.Directory)
	add("--file", p.Files...)
	add("--env-file", p.EnvFiles...)
	add("--profile", p.Profiles...)
	return slices.Concat(all, args)
}
