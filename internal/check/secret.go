package check

import (
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// known are values that stand in other people's documentation, examples and source code.
var known = map[string]bool{
	"123123": true, "123456": true, "12345678": true, "admin": true, "bigcapital": true, "changeme": true, "change-me": true,
	"change_me": true, "changethis": true, "corteza": true, "default": true, "example": true, "jwt_secret": true, "jwtsecret": true,
	"letmein": true, "mariadb": true, "mysql": true, "passw0rd": true, "password": true, "postgres": true, "qwerty": true,
	"root": true, "secret": true, "supersecret": true, "test": true, "your-secret": true, "your_secret": true, "xxx": true,
}

// KnownSecret reports whether a secret is one that everybody knows.
func KnownSecret(value string) bool { return known[strings.ToLower(value)] }

// shortest is the number of characters below which a secret can be guessed by whoever tries long enough.
const shortest = 12

var secretName = regexp.MustCompile(`(PASS|PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|(API|APP|AUTH|ACCESS|ENCRYPTION|JWT|MASTER|PRIVATE|SECRET|SIGNING|STORAGE)_KEY)$`)

// needed are secrets whose absence an application makes up for in a way that nobody wants.
var needed = []struct {
	image     string
	versions  string // "" is all
	variable  string
	otherwise string
}{
	{"bigcapitalhq/server", "new", "APP_JWT_SECRET", "BigCapital then signs sessions with 123123, and whoever knows that is any user"},
	{"bigcapitalhq/server", "old", "JWT_SECRET", "BigCapital up to v0.22 signs sessions with it"},
	{"cortezaproject/corteza", "", "AUTH_JWT_SECRET", "Corteza then makes one of its container's name, and every update signs everyone out"},
	{"cortezaproject/corteza", "", "AUTH_CSRF_SECRET", "Corteza then makes one of its container's name, and every update breaks open forms"},
	{"cortezaproject/corteza", "", "AUTH_EXTERNAL_COOKIE_SECRET", "Corteza then makes one of its container's name, and every update signs everyone out"},
}

// secrets looks at the variables of all services that are named as secrets, and at passwords inside addresses. No finding
// shows a value, but for one that everybody knows.
func (c *Check) secrets(s *stack) []Finding {
	const renew = "in .env, give it a value of its own: openssl rand -hex 32"
	var all []Finding
	n := 0
	for _, service := range s.services() {
		for _, name := range slices.Sorted(maps.Keys(service.Environment)) {
			value := secretIn(name, service.Environment[name])
			switch {
			case value == "":
				continue
			case KnownSecret(value):
				all = append(all, failure("secret", renew, "%s: %s is %q, which everybody knows", service.name, name, value))
			case len(value) < shortest:
				all = append(all, warning("secret", renew, "%s: %s has %d characters and can be guessed", service.name, name, len(value)))
			}
			n++
		}
		all = append(all, missing(service, renew)...)
	}
	all = append(all, c.envFiles()...)
	if len(all) == 0 {
		all = append(all, ok("secret", "all are set, and none is one that everybody knows (secrets: %d)", n))
	}
	return all
}

// secretIn returns the secret that a variable holds; "" if it holds none.
func secretIn(name string, value *string) string {
	switch {
	case value == nil:
		return ""
	case secretName.MatchString(name):
		return *value
	}
	u, err := url.Parse(*value)
	if err != nil || u.User == nil {
		return ""
	}
	password, _ := u.User.Password()
	return password
}

// missing returns the secrets that a service should have and hasn't.
func missing(s *service, renew string) []Finding {
	var all []Finding
	named, _, _ := strings.Cut(s.Image, "@")
	repository := strings.TrimSuffix(named, tagSuffix(named))
	// BigCapital's v0.22 and before; a tag that tells no version is of a new one.
	versions := "new"
	var minor int
	if n, _ := fmt.Sscanf(strings.ToLower(tagSuffix(named)), ":v0.%d", &minor); n == 1 && minor < 23 {
		versions = "old"
	}
	for _, n := range needed {
		if repository != n.image && !strings.HasSuffix(repository, "/"+n.image) || n.versions != "" && n.versions != versions {
			continue
		}
		if value := s.Environment[n.variable]; value == nil || *value == "" {
			all = append(all, failure("secret", renew, "%s: %s is not set: %s", s.name, n.variable, n.otherwise))
		}
	}
	return all
}

// envFiles returns findings about files with secrets that other users of the machine can read.
func (c *Check) envFiles() []Finding {
	files := c.Project.EnvFiles
	if named := os.Getenv("COMPOSE_ENV_FILES"); len(files) == 0 && named != "" {
		files = strings.Split(named, ",")
	}
	if len(files) == 0 {
		dir := c.Project.Directory
		if dir == "" && len(c.Project.Files) > 0 {
			dir = filepath.Dir(c.Project.Files[0])
		}
		files = []string{filepath.Join(dir, ".env")}
	}
	var all []Finding
	for _, file := range files {
		info, err := os.Stat(file)
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o077 != 0 {
			all = append(all, warning("secret", fmt.Sprintf("chmod 600 %s", file), "%s can be read by other users of this machine (%s)", file, info.Mode()&fs.ModePerm))
		}
	}
	return all
}
