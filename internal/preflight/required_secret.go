package preflight

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// secretRequirement is a secret without which an image does not start, or makes up for it in a way that nobody wants.
type secretRequirement struct {
	images       []string // repositories
	versions     string   // "" is all
	program      string   // what has to run for it, "" is anything
	variable     string
	alternatives []string // variables of which one is enough
	unsetLevel   Level    // if it is not set at all; the volume may have been initialized before
	consequence  string
}

var secretRequirements = []secretRequirement{
	{images: []string{"bigcapitalhq/server"}, versions: "new", variable: "APP_JWT_SECRET", unsetLevel: Error, consequence: "BigCapital then signs sessions with 123123, and whoever knows that is any user"},
	{images: []string{"bigcapitalhq/server"}, versions: "old", variable: "JWT_SECRET", unsetLevel: Error, consequence: "BigCapital up to v0.22 signs sessions with it"},
	{images: []string{"cortezaproject/corteza"}, variable: "AUTH_JWT_SECRET", unsetLevel: Error, consequence: "Corteza then makes one of its container's name, and every update signs everyone out"},
	{images: []string{"cortezaproject/corteza"}, variable: "AUTH_CSRF_SECRET", unsetLevel: Error, consequence: "Corteza then makes one of its container's name, and every update breaks open forms"},
	{images: []string{"cortezaproject/corteza"}, variable: "AUTH_EXTERNAL_COOKIE_SECRET", unsetLevel: Error, consequence: "Corteza then makes one of its container's name, and every update signs everyone out"},
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

// requirementsOf returns what applies to a service.
func requirementsOf(s *service) (all []secretRequirement) {
	named, _, _ := strings.Cut(s.Image, "@")
	tag := tagSuffix(named)
	repository := strings.TrimSuffix(named, tag)
	// BigCapital's v0.22 and before; a tag that tells no version is of a new one.
	versions := "new"
	var minor int
	if n, _ := fmt.Sscanf(strings.ToLower(tag), ":v0.%d", &minor); n == 1 && minor < 23 {
		versions = "old"
	}
	for _, r := range secretRequirements {
		is := func(image string) bool { return repository == image || strings.HasSuffix(repository, "/"+image) }
		if slices.ContainsFunc(r.images, is) && (r.versions == "" || r.versions == versions) && s.runsProgram(r.program) {
			all = append(all, r)
		}
	}
	return all
}

// runsProgram reports whether a container starts a program, as the entry points of databases decide it: unless a command is given, or with
// flags alone.
func (s *service) runsProgram(program string) bool {
	if program == "" {
		return true
	}
	if len(s.Entrypoint) > 0 {
		return false
	}
	return len(s.Command) == 0 || strings.HasPrefix(s.Command[0], "-") || path.Base(s.Command[0]) == program
}

// check returns a finding if a service lacks the secret.
func (r secretRequirement) check(s *service) *Finding {
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
	if s.emptyPasswordSetting() != "" {
		return nil // which is reported itself
	}
	found := errorFinding("secret", secretHint, "%s: %s is %s: %s", s.name, variable, state, r.consequence)
	found.Level = level
	return &found
}
