package cmd

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/compose"
)

// addProjectFlags adds the flags that say which Compose project is meant, in the words of docker compose, and which service
// of it is the edge.
func addProjectFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringP("project-name", "p", "", "The Compose project's name")
	f.StringArrayP("file", "f", nil, "A compose file")
	f.StringArray("env-file", nil, "A file with variables for the compose file")
	f.String("project-directory", "", "The directory that paths in the compose file begin at")
	f.StringArray("profile", nil, "A profile of the compose file")
	f.String("edge", "edge", "The Compose service that is the edge")
}

// projectFromFlags reads the flags of [addProjectFlags].
func projectFromFlags(cmd *cobra.Command) (compose.Project, error) {
	text := func(name string) string {
		value, _ := cmd.Flags().GetString(name) // it is one: see above
		return value
	}
	list := func(name string) []string {
		values, _ := cmd.Flags().GetStringArray(name) // likewise
		return values
	}
	p := compose.Project{
		Name: text("project-name"), Directory: text("project-directory"),
		Files: list("file"), EnvFiles: list("env-file"), Profiles: list("profile"),
	}
	if slices.Contains(p.Files, "-") {
		return p, withHint(errors.New("the compose file is read more than once, and can't be standard input"), "save it and name it")
	}
	return p, nil
}
