package check

import (
	"cmp"
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

// shortest is the number of characters below which a secret can be guessed by whoever tries long enough.
const shortest = 12

// newSecret is what to do about a secret that is none.
const newSecret = "in .env, give it a value of its own: openssl rand -hex 32"

var secretName = regexp.MustCompile(`(PASS|PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|(API|APP|AUTH|ACCESS|ENCRYPTION|JWT|MASTER|PRIVATE|SECRET|SIGNING|STORAGE)_KEY(_BASE)?)$`)

// vital are names of secrets that are never left empty: those of databases, and those that sign or encrypt. Others, such as the
// password of a mail server, may belong to something that is not in use.
var vital = regexp.MustCompile(`(^|_)(DB|DATABASE|PG|PGSQL|POSTGRES|POSTGRESQL|MYSQL|MARIADB|MONGO|MONGODB|MSSQL|SA|ROOT)_([A-Z]+_)*(PASS|PASSWORD|PASSWD)$|(^|_)(JWT|SESSION|COOKIE|CSRF|SIGNING|ENCRYPTION)_(SECRET|KEY)$|^((APP|DJANGO|FLASK)_)?(SECRET|KEY|SECRET_KEY|SECRET_KEY_BASE)$`)

// databaseScheme are addresses whose password is that of a database.
var databaseScheme = regexp.MustCompile(`^(postgres|postgresql|mysql|mariadb|mongodb|sqlserver)(\+\w+)?$`)

// switchName are names of settings that end like a secret and hold a yes, a no or a number.
var switchName = regexp.MustCompile(`(^|_)(ALLOW|DISABLE|DISABLED|ENABLE|ENABLED|FORCE|GENERATE|HAS|HIDE|IS|MAX|MIN|NO|RANDOM|REQUIRE|RESET|SHOW|SKIP|USE)_`)

// emptyAllowed are settings that let everybody in.
var emptyAllowed = regexp.MustCompile(`(^|_)(ALLOW_EMPTY(_ROOT)?_PASSWORD|ALLOW_ANONYMOUS_LOGIN)$`)

// secrets looks at the variables of all services that are named as secrets, at the files that they name, and at passwords inside
// addresses. No finding shows a value, but for one that everybody knows.
func (c *Check) secrets(s *stack) []Finding {
	var all []Finding
	var unused []string
	n := 0
	for _, service := range s.services() {
		found, empty, set := service.secrets(s)
		all, unused, n = append(all, found...), append(unused, empty...), n+set
	}
	all = append(all, c.envFiles()...)
	if len(all) == 0 {
		all = append(all, ok("secret", "all are set, and none is one that everybody knows (secrets: %d)", n))
	}
	if len(unused) > 0 {
		all = append(all, note("secret", "give it a value if the service uses it", "empty, and taken for not in use: %s", strings.Join(unused, ", ")))
	}
	return all
}

// secrets returns findings about one service, the names of secrets that may be empty and are, and how many are set.
func (s *service) secrets(of *stack) (all []Finding, unused []string, set int) {
	if name := s.allowsEmpty(); name != "" {
		all = append(all, warning("secret", "take it out, and set a password: openssl rand -hex 32", "%s: %s allows empty passwords", s.name, name))
	}
	needs := required(s)
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		secret, found := s.secretIn(name)
		isRequired := slices.ContainsFunc(needs, func(r requirement) bool { return r.variable == name || slices.Contains(r.instead, name) })
		switch {
		case !found, secret == "" && isRequired:
			continue
		case secret != "":
			set++
			all = append(all, s.weakness(name, secret)...)
		case s.allowsEmpty() == "" && s.isVital(name):
			f := failure("secret", newSecret, "%s: %s is empty", s.name, name)
			if of.allowsEmpty(s) {
				f.Level = Warning
			}
			all = append(all, f)
		default:
			unused = append(unused, s.name+": "+name)
		}
	}
	for _, r := range needs {
		if found := r.check(s); found != nil {
			all = append(all, *found)
		}
	}
	return all, unused, set
}

// weakness returns what is wrong with a secret, if anything is.
func (s *service) weakness(name, secret string) []Finding {
	user := regexp.MustCompile(`(PASS|PASSWORD|PASSWD)$`).ReplaceAllString(name, "USER")
	switch login := s.Environment[user]; {
	case KnownSecret(secret):
		return []Finding{failure("secret", newSecret, "%s: %s is %q, which everybody knows", s.name, name, secret)}
	case user != name && login != nil && *login == secret:
		return []Finding{failure("secret", newSecret, "%s: %s is the same as %s", s.name, name, user)}
	case len(secret) < shortest:
		return []Finding{warning("secret", newSecret, "%s: %s has %d characters and can be guessed", s.name, name, len(secret))}
	}
	return nil
}

// secretIn returns the secret that a variable holds, if it is one for a secret: by its name, by the file that it names, or by the
// password of an address.
func (s *service) secretIn(name string) (secret string, found bool) {
	value := s.Environment[name]
	if value == nil {
		return "", false
	}
	file, isFile := strings.CutSuffix(name, "_FILE")
	switch {
	case isFile && secretName.MatchString(file):
		return s.secretOf(*value)
	case secretName.MatchString(name):
		return *value, !isSwitch(name, *value)
	}
	u, err := url.Parse(*value)
	if err != nil || u.User == nil {
		return "", false
	}
	return u.User.Password()
}

// secretOf reads a file of the container that is a file of this machine.
func (s *service) secretOf(path string) (secret string, found bool) {
	file, mounted := s.onHost(path)
	if !mounted {
		return "", false
	}
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() > 1<<16 { // the check of files says what is wrong
		return "", false
	}
	text, err := os.ReadFile(file)
	return strings.TrimSpace(string(text)), err == nil
}

// isSwitch reports whether a variable turns something on or off, or counts, rather than being a secret.
func isSwitch(name, value string) bool {
	switch strings.ToLower(value) {
	case "yes", "no", "true", "false", "on", "off":
		return true
	}
	return switchName.MatchString(name) && len(value) < shortest
}

// isVital reports whether an empty secret of that name is a fault.
func (s *service) isVital(name string) bool {
	if vital.MatchString(strings.TrimSuffix(name, "_FILE")) {
		return true
	}
	u, err := url.Parse(*s.Environment[name])
	return err == nil && databaseScheme.MatchString(u.Scheme)
}

// allowsEmpty returns the variable by which a service's database lets everybody in, or "".
func (s *service) allowsEmpty() string {
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		value := strings.ToLower(*cmp.Or(s.Environment[name], new(string)))
		off := value == "" || strings.HasPrefix(name, "ALLOW_") && slices.Contains([]string{"no", "false", "0", "off"}, value)
		if emptyAllowed.MatchString(name) && !off || name == "POSTGRES_HOST_AUTH_METHOD" && value == "trust" {
			return name
		}
	}
	return ""
}

// allowsEmpty reports whether a service other than one allows empty passwords, so that it may have one for it.
func (s *stack) allowsEmpty(but *service) bool {
	return slices.ContainsFunc(s.services(), func(other *service) bool { return other != but && other.allowsEmpty() != "" })
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
