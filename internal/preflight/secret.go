package preflight

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

// minSecretLength is the number of characters below which a secret can be guessed by whoever tries long enough.
const minSecretLength = 12

// secretHint is what to do about a secret that is none.
const secretHint = "in .env, give it a value of its own: openssl rand -hex 32"

var secretNamePattern = regexp.MustCompile(`(PASS|PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|(API|APP|AUTH|ACCESS|ENCRYPTION|JWT|MASTER|PRIVATE|SECRET|SIGNING|STORAGE)_KEY(_BASE)?)$`)

// neverEmptyPattern are names of secrets that are never left empty: those of databases, and those that sign or encrypt. Others, such as the
// password of a mail server, may belong to something that is not in use.
var neverEmptyPattern = regexp.MustCompile(`(^|_)(DB|DATABASE|PG|PGSQL|POSTGRES|POSTGRESQL|MYSQL|MARIADB|MONGO|MONGODB|MSSQL|SA|ROOT)_([A-Z]+_)*(PASS|PASSWORD|PASSWD)$|(^|_)(JWT|SESSION|COOKIE|CSRF|SIGNING|ENCRYPTION)_(SECRET|KEY)$|^((APP|DJANGO|FLASK)_)?(SECRET|KEY|SECRET_KEY|SECRET_KEY_BASE)$`)

// databaseSchemePattern are addresses whose password is that of a database.
var databaseSchemePattern = regexp.MustCompile(`^(postgres|postgresql|mysql|mariadb|mongodb|sqlserver)(\+\w+)?$`)

// switchNamePattern are names of settings that end like a secret and hold a yes, a no or a number.
var switchNamePattern = regexp.MustCompile(`(^|_)(ALLOW|DISABLE|DISABLED|ENABLE|ENABLED|FORCE|GENERATE|HAS|HIDE|IS|MAX|MIN|NO|RANDOM|REQUIRE|RESET|SHOW|SKIP|USE)_`)

// allowEmptyPattern are settings that let everybody in.
var allowEmptyPattern = regexp.MustCompile(`(^|_)(ALLOW_EMPTY(_ROOT)?_PASSWORD|ALLOW_ANONYMOUS_LOGIN)$`)

// checkSecrets looks at the variables of all services that are named as secrets, at the files that they name, and at passwords inside
// addresses. No finding shows a value, but for one that everybody knows.
func (c *Check) checkSecrets(s *stack) []Finding {
	var all []Finding
	var unused []string
	n := 0
	for _, service := range s.activeServices() {
		found, empty, set := service.checkSecrets(s)
		all, unused, n = append(all, found...), append(unused, empty...), n+set
	}
	all = append(all, c.checkEnvFiles()...)
	if len(all) == 0 {
		all = append(all, okFinding("secret", "all are set, and none is one that everybody knows (secrets: %d)", n))
	}
	if len(unused) > 0 {
		all = append(all, noteFinding("secret", "give it a value if the service uses it", "empty, and taken for not in use: %s", strings.Join(unused, ", ")))
	}
	return all
}

// checkSecrets returns findings about one service, the names of secrets that may be empty and are, and how many are set.
func (s *service) checkSecrets(of *stack) (all []Finding, unused []string, set int) {
	if name := s.emptyPasswordSetting(); name != "" {
		all = append(all, warningFinding("secret", "take it out, and set a password: openssl rand -hex 32", "%s: %s allows empty passwords", s.name, name))
	}
	needs := requirementsOf(s)
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		secret, found := s.secretFromVariable(name)
		isRequired := slices.ContainsFunc(needs, func(r secretRequirement) bool { return r.variable == name || slices.Contains(r.alternatives, name) })
		switch {
		case !found, secret == "" && isRequired:
			continue
		case secret != "":
			set++
			all = append(all, s.checkStrength(name, secret)...)
		case s.emptyPasswordSetting() == "" && s.isNeverEmpty(name):
			f := errorFinding("secret", secretHint, "%s: %s is empty", s.name, name)
			if of.othersAllowEmptyPasswords(s) {
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

// checkStrength returns what is wrong with a secret, if anything is.
func (s *service) checkStrength(name, secret string) []Finding {
	user := regexp.MustCompile(`(PASS|PASSWORD|PASSWD)$`).ReplaceAllString(name, "USER")
	switch login := s.Environment[user]; {
	case isKnownSecret(secret):
		return []Finding{errorFinding("secret", secretHint, "%s: %s is %q, which everybody knows", s.name, name, secret)}
	case user != name && login != nil && *login == secret:
		return []Finding{errorFinding("secret", secretHint, "%s: %s is the same as %s", s.name, name, user)}
	case len(secret) < minSecretLength:
		return []Finding{warningFinding("secret", secretHint, "%s: %s has %d characters and can be guessed", s.name, name, len(secret))}
	}
	return nil
}

// secretFromVariable returns the secret that a variable holds, if it is one for a secret: by its name, by the file that it names, or by the
// password of an address.
func (s *service) secretFromVariable(name string) (secret string, found bool) {
	value := s.Environment[name]
	if value == nil {
		return "", false
	}
	file, isFile := strings.CutSuffix(name, "_FILE")
	switch {
	case isFile && secretNamePattern.MatchString(file):
		return s.secretFromFile(*value)
	case secretNamePattern.MatchString(name):
		return *value, !isSwitch(name, *value)
	}
	u, err := url.Parse(*value)
	if err != nil || u.User == nil {
		return "", false
	}
	return u.User.Password()
}

// secretFromFile reads a file of the container that is a file of this machine.
func (s *service) secretFromFile(path string) (secret string, found bool) {
	file, mounted := s.hostPath(path)
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
	return switchNamePattern.MatchString(name) && len(value) < minSecretLength
}

// isNeverEmpty reports whether an empty secret of that name is a fault.
func (s *service) isNeverEmpty(name string) bool {
	if neverEmptyPattern.MatchString(strings.TrimSuffix(name, "_FILE")) {
		return true
	}
	u, err := url.Parse(*s.Environment[name])
	return err == nil && databaseSchemePattern.MatchString(u.Scheme)
}

// emptyPasswordSetting returns the variable by which a service's database lets everybody in, or "".
func (s *service) emptyPasswordSetting() string {
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		value := strings.ToLower(*cmp.Or(s.Environment[name], new(string)))
		off := value == "" || strings.HasPrefix(name, "ALLOW_") && slices.Contains([]string{"no", "false", "0", "off"}, value)
		if allowEmptyPattern.MatchString(name) && !off || name == "POSTGRES_HOST_AUTH_METHOD" && value == "trust" {
			return name
		}
	}
	return ""
}

// emptyPasswordSetting reports whether a service other than one allows empty passwords, so that it may have one for it.
func (s *stack) othersAllowEmptyPasswords(but *service) bool {
	return slices.ContainsFunc(s.activeServices(), func(other *service) bool { return other != but && other.emptyPasswordSetting() != "" })
}

// checkEnvFiles returns findings about files with secrets that other users of the machine can read.
func (c *Check) checkEnvFiles() []Finding {
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
			all = append(all, warningFinding("secret", fmt.Sprintf("chmod 600 %s", file), "%s can be read by other users of this machine (%s)", file, info.Mode()&fs.ModePerm))
		}
	}
	return all
}
