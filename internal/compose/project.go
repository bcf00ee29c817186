package compose

import "slices"

// Project says which Compose project is meant, in the words of `docker compose`; the zero Project is the one that
// `docker compose` finds by itself.
type Project struct {
	Name      string
	Directory string
	Files     []string
	EnvFiles  []string
	Profiles  []string
}

// Args returns the arguments of docker for a command of Compose on the project.
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
