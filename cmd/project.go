package cmd

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/compose"
)

// addProjectFlags adds the flags that name the Compose project, as those of docker compose do, and the service that is the edge.
func addProjectFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringP("project-name", "p", "", "The Compose project's name")
	f.StringArrayP("file", "f", nil, "A compose file")
	f.StringArray("env-file", nil, "A file with variables for the compose file")
	f.String("project-directory", "", "The directory that paths in the compose file are relative to")
	f.StringArray("profile", nil, "A profile of the compose file")
	f.String("edge", "edge", "The Compose service that is the edge; of another project: PROJECT/SERVICE")
}

// projectFromFlags reads the flags of [addProjectFlags].
func projectFromFlags(cmd *cobra.Command) (compose.Project, error) {
	text := func(name string) string {
		value, _ := cmd.Flags().GetString(name) // the flag exists and is a string
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
		return p, withHint(errors.New("the compose file can't be standard input, because it is read more than once"), "save it to a file")
	}
	return p, nil
}
