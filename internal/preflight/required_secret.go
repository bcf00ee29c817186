package preflight

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
)

// secretRequirement is a secret without which an image does not start, or uses an insecure or a short-lived one.
type secretRequirement struct {
	images       []string // repositories
	versions     string   // new or old, see requirementsOf; "" is all
	program      string   // the program that needs the secret; "" is any
	variable     string
	alternatives []string // other variables that make it unnecessary
	unsetLevel   Level    // the level if it is not set; a warning if an initialized volume needs no secret
	consequence  string   // of the missing secret
}

var secretRequirements = []secretRequirement{
	{images: []string{"bigcapitalhq/server"}, versions: "new", variable: "APP_JWT_SECRET", unsetLevel: Error, consequence: "BigCapital then signs sessions with 123123, so that anyone can log in as any user"},
	{images: []string{"bigcapitalhq/server"}, versions: "old", variable: "JWT_SECRET", unsetLevel: Error, consequence: "BigCapital up to v0.22 signs sessions with it"},
	{images: []string{"cortezaproject/corteza"}, variable: "AUTH_JWT_SECRET", unsetLevel: Error, consequence: "Corteza then derives one from its container's name, and every update signs everyone out"},
	{images: []string{"cortezaproject/corteza"}, variable: "AUTH_CSRF_SECRET", unsetLevel: Error, consequence: "Corteza then derives one from its container's name, and every update breaks open forms"},
	{images: []string{"cortezaproject/corteza"}, variable: "AUTH_EXTERNAL_COOKIE_SECRET", unsetLevel: Error, consequence: "Corteza then derives one from its container's name, and every update signs everyone out"},
	{
		images: []string{"postgres", "postgis/postgis", "pgvector/pgvector", "timescale/timescaledb"}, program: "postgres",
		variable: "POSTGRES_PASSWORD", unsetLevel: Warning, consequence: "PostgreSQL does not start with a new volume",
	},
	{
		images: []string{"mysql"}, program: "mysqld", variable: "MYSQL_ROOT_PASSWORD", alternatives: []string{"MYSQL_RANDOM_ROOT_PASSWORD"},
		unsetLevel: Warning, consequence: "MySQL does not start with a new volume",
	},
	{
		images: []string{"mariadb"}, program: "mariadbd", variable: "MARIADB_ROOT_PASSWORD",
		alternatives: []string{"MARIADB_ROOT_PASSWORD_HASH", "MARIADB_RANDOM_ROOT_PASSWORD", "MYSQL_ROOT_PASSWORD", "MYSQL_RANDOM_ROOT_PASSWORD"},
		unsetLevel:   Warning, consequence: "MariaDB does not start with a new volume",
	},
	{
		images: []string{"mssql/server"}, variable: "MSSQL_SA_PASSWORD", alternatives: []string{"SA_PASSWORD"},
		unsetLevel: Warning, consequence: "SQL Server does not start with a new volume",
	},
}

// requirementsOf returns the requirements of a service's image.
func requirementsOf(s *compose.Service) (all []secretRequirement) {
	image, _, _ := strings.Cut(s.Image, "@")
	tag := tagSuffix(image)
	repository := strings.TrimSuffix(image, tag)
	// BigCapital renamed its variable after v0.22. A tag without a version counts as new.
	versions := "new"
	var minor int
	if n, _ := fmt.Sscanf(strings.ToLower(tag), ":v0.%d", &minor); n == 1 && minor < 23 {
		versions = "old"
	}
	for _, r := range secretRequirements {
		isRepository := func(name string) bool { return repository == name || strings.HasSuffix(repository, "/"+name) }
		if slices.ContainsFunc(r.images, isRepository) && (r.versions == "" || r.versions == versions) && runsProgram(s, r.program) {
			all = append(all, r)
		}
	}
	return all
}

// runsProgram reports whether a container runs a program. As in the entry points of databases, it does so if the command is empty, has
// flags alone, or begins with the program.
func runsProgram(s *compose.Service, program string) bool {
	if program == "" {
		return true
	}
	if len(s.Entrypoint) > 0 {
		return false
	}
	return len(s.Command) == 0 || strings.HasPrefix(s.Command[0], "-") || path.Base(s.Command[0]) == program
}

// findMissing returns a finding if a service lacks the secret.
func (r secretRequirement) findMissing(s *compose.Service) *Finding {
	level, variable, state := r.unsetLevel, r.variable, "not set"
	for _, name := range slices.Concat([]string{r.variable}, r.alternatives) {
		if value := s.Environment[name]; value != nil {
			if *value != "" {
				return nil
			}
			level, variable, state = Error, name, "empty"
		}
		if value := s.Environment[name+"_FILE"]; value != nil && *value != "" {
			return nil
		}
	}
	if emptyPasswordSetting(s) != "" {
		return nil // checkServiceSecrets reports the setting
	}
	found := errorFinding("secret", secretHint, "%s: %s is %s: %s", s.Name, variable, state, r.consequence)
	found.Level = level
	return &found
}
