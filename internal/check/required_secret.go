package check

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// requirement is a secret without which an image does not start, or makes up for it in a way that nobody wants.
type requirement struct {
	images    []string // repositories
	versions  string   // "" is all
	program   string   // what has to run for it, "" is anything
	variable  string
	instead   []string // variables of which one is enough
	absent    Level    // if it is not set at all; the volume may have been initialized before
	otherwise string
}

var requirements = []requirement{
	{images: []string{"bigcapitalhq/server"}, versions: "new", variable: "APP_JWT_SECRET", absent: Error, otherwise: "BigCapital then signs sessions with 123123, and whoever knows that is any user"},
	{images: []string{"bigcapitalhq/server"}, versions: "old", variable: "JWT_SECRET", absent: Error, otherwise: "BigCapital up to v0.22 signs sessions with it"},
	{images: []string{"cortezaproject/corteza"}, variable: "AUTH_JWT_SECRET", absent: Error, otherwise: "Corteza then makes one of its container's name, and every update signs everyone out"},
	{images: []string{"cortezaproject/corteza"}, variable: "AUTH_CSRF_SECRET", absent: Error, otherwise: "Corteza then makes one of its container's name, and every update breaks open forms"},
	{images: []string{"cortezaproject/corteza"}, variable: "AUTH_EXTERNAL_COOKIE_SECRET", absent: Error, otherwise: "Corteza then makes one of its container's name, and every update signs everyone out"},
	{
		images: []string{"postgres", "postgis/postgis", "pgvector/pgvector", "timescale/timescaledb"}, program: "postgres",
		variable: "POSTGRES_PASSWORD", absent: Warning, otherwise: "PostgreSQL does not start with a new volume",
	},
	{
		images: []string{"mysql"}, program: "mysqld", variable: "MYSQL_ROOT_PASSWORD", instead: []string{"MYSQL_RANDOM_ROOT_PASSWORD"},
		absent: Warning, otherwise: "MySQL does not start with a new volume",
	},
	{
		images: []string{"mariadb"}, program: "mariadbd", variable: "MARIADB_ROOT_PASSWORD",
		instead: []string{"MARIADB_ROOT_PASSWORD_HASH", "MARIADB_RANDOM_ROOT_PASSWORD", "MYSQL_ROOT_PASSWORD", "MYSQL_RANDOM_ROOT_PASSWORD"},
		absent:  Warning, otherwise: "MariaDB does not start with a new volume",
	},
	{
		images: []string{"mssql/server"}, variable: "MSSQL_SA_PASSWORD", instead: []string{"SA_PASSWORD"},
		absent: Warning, otherwise: "SQL Server does not start with a new volume",
	},
}

// required returns what applies to a service.
func required(s *service) (all []requirement) {
	named, _, _ := strings.Cut(s.Image, "@")
	tag := tagSuffix(named)
	repository := strings.TrimSuffix(named, tag)
	// BigCapital's v0.22 and before; a tag that tells no version is of a new one.
	versions := "new"
	var minor int
	if n, _ := fmt.Sscanf(strings.ToLower(tag), ":v0.%d", &minor); n == 1 && minor < 23 {
		versions = "old"
	}
	for _, r := range requirements {
		is := func(image string) bool { return repository == image || strings.HasSuffix(repository, "/"+image) }
		if slices.ContainsFunc(r.images, is) && (r.versions == "" || r.versions == versions) && s.runs(r.program) {
			all = append(all, r)
		}
	}
	return all
}

// runs reports whether a container starts a program, as the entry points of databases decide it: unless a command is given, or with
// flags alone.
func (s *service) runs(program string) bool {
	if program == "" {
		return true
	}
	if len(s.Entrypoint) > 0 {
		return false
	}
	return len(s.Command) == 0 || strings.HasPrefix(s.Command[0], "-") || path.Base(s.Command[0]) == program
}

// check returns a finding if a service lacks the secret.
func (r requirement) check(s *service) *Finding {
	level, variable, state := r.absent, r.variable, "not set"
	for _, name := range slices.Concat([]string{r.variable}, r.instead) {
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
	if s.allowsEmpty() != "" {
		return nil // which is reported itself
	}
	found := failure("secret", newSecret, "%s: %s is %s: %s", s.name, variable, state, r.otherwise)
	found.Level = level
	return &found
}
