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

	"github.com/theworklabs/edge/internal/compose"
)

// minSecretLength is the length in bytes below which a secret can be guessed.
const minSecretLength = 12

// secretHint is the hint for a missing or weak secret.
const secretHint = "in .env, set it to a random value: openssl rand -hex 32"

// secretNamePattern matches the names of variables that contain a secret.
var secretNamePattern = regexp.MustCompile(`(PASS|PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|(API|APP|AUTH|ACCESS|ENCRYPTION|JWT|MASTER|PRIVATE|SECRET|SIGNING|STORAGE)_KEY(_BASE)?)$`)

// neverEmptyPattern matches names of secrets that must not be empty: those of databases, and those that sign or encrypt. Other secrets,
// such as the password of a mail server, may belong to a feature that is not used.
var neverEmptyPattern = regexp.MustCompile(`(^|_)(DB|DATABASE|PG|PGSQL|POSTGRES|POSTGRESQL|MYSQL|MARIADB|MONGO|MONGODB|MSSQL|SA|ROOT)_([A-Z]+_)*(PASS|PASSWORD|PASSWD)$|(^|_)(JWT|SESSION|COOKIE|CSRF|SIGNING|ENCRYPTION)_(SECRET|KEY)$|^((APP|DJANGO|FLASK)_)?(SECRET|KEY|SECRET_KEY|SECRET_KEY_BASE)$`)

// databaseSchemePattern matches the schemes of database URLs.
var databaseSchemePattern = regexp.MustCompile(`^(postgres|postgresql|mysql|mariadb|mongodb|sqlserver)(\+\w+)?$`)

// switchNamePattern matches names of settings that end like the name of a secret, and whose value is yes, no or a number.
var switchNamePattern = regexp.MustCompile(`(^|_)(ALLOW|DISABLE|DISABLED|ENABLE|ENABLED|FORCE|GENERATE|HAS|HIDE|IS|MAX|MIN|NO|RANDOM|REQUIRE|RESET|SHOW|SKIP|USE)_`)

// allowEmptyPattern matches names of settings that allow a login without a password.
var allowEmptyPattern = regexp.MustCompile(`(^|_)(ALLOW_EMPTY(_ROOT)?_PASSWORD|ALLOW_ANONYMOUS_LOGIN)$`)

// checkSecrets checks the secrets of all active services: variables with the name of a secret, the files that such variables name, and
// passwords in URLs. No finding shows a value, unless it is publicly known.
func (c *Check) checkSecrets(s *stack) []Finding {
	var all []Finding
	var unused []string
	n := 0
	for _, service := range s.activeServices() {
		found, empty, set := checkServiceSecrets(service, s)
		all, unused, n = append(all, found...), append(unused, empty...), n+set
	}
	all = append(all, c.checkEnvFiles()...)
	if len(all) == 0 {
		all = append(all, okFinding("secret", "all are set, and none is publicly known (secrets: %d)", n))
	}
	if len(unused) > 0 {
		all = append(all, noteFinding("secret", "set it if the service uses it", "empty, and so considered unused: %s", strings.Join(unused, ", ")))
	}
	return all
}

// checkServiceSecrets returns findings about one service, the names of empty secrets that may be empty, and the number of set ones.
func checkServiceSecrets(s *compose.Service, project *stack) (all []Finding, unused []string, set int) {
	if name := emptyPasswordSetting(s); name != "" {
		all = append(all, warningFinding("secret", "take it out, and set a password: openssl rand -hex 32", "%s: %s allows empty passwords", s.Name, name))
	}
	needs := requirementsOf(s)
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		secret, found := secretFromVariable(s, name)
		isRequired := slices.ContainsFunc(needs, func(r secretRequirement) bool { return r.variable == name || slices.Contains(r.alternatives, name) })
		switch {
		case !found, secret == "" && isRequired:
			continue
		case secret != "":
			set++
			all = append(all, checkStrength(s, name, secret)...)
		case emptyPasswordSetting(s) == "" && isNeverEmpty(s, name):
			f := errorFinding("secret", secretHint, "%s: %s is empty", s.Name, name)
			if project.othersAllowEmptyPasswords(s) {
				f.Level = Warning
			}
			all = append(all, f)
		default:
			unused = append(unused, s.Name+": "+name)
		}
	}
	for _, r := range needs {
		if found := r.findMissing(s); found != nil {
			all = append(all, *found)
		}
	}
	return all, unused, set
}

// checkStrength returns a finding if a secret is weak.
func checkStrength(s *compose.Service, name, secret string) []Finding {
	user := regexp.MustCompile(`(PASS|PASSWORD|PASSWD)$`).ReplaceAllString(name, "USER")
	switch login := s.Environment[user]; {
	case isKnownSecret(secret):
		return []Finding{errorFinding("secret", secretHint, "%s: %s is %q, which is publicly known", s.Name, name, secret)}
	case user != name && login != nil && *login == secret:
		return []Finding{errorFinding("secret", secretHint, "%s: %s is the same as %s", s.Name, name, user)}
	case len(secret) < minSecretLength:
		return []Finding{warningFinding("secret", secretHint, "%s: %s is too short and can be guessed (characters: %d)", s.Name, name, len(secret))}
	}
	return nil
}

// secretFromVariable returns the secret of a variable: its value, the content of the file that it names, or the password of its URL.
func secretFromVariable(s *compose.Service, name string) (secret string, found bool) {
	value := s.Environment[name]
	if value == nil {
		return "", false
	}
	file, isFile := strings.CutSuffix(name, "_FILE")
	switch {
	case isFile && secretNamePattern.MatchString(file):
		return secretFromFile(s, *value)
	case secretNamePattern.MatchString(name):
		return *value, !isSwitch(name, *value)
	}
	u, err := url.Parse(*value)
	if err != nil || u.User == nil {
		return "", false
	}
	return u.User.Password()
}

// secretFromFile reads a file of the container from its bind mount.
func secretFromFile(s *compose.Service, path string) (secret string, found bool) {
	file, mounted := s.HostPath(path)
	if !mounted {
		return "", false
	}
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() > 1<<16 { // checkFiles reports it
		return "", false
	}
	text, err := os.ReadFile(file)
	return strings.TrimSpace(string(text)), err == nil
}

// isSwitch reports whether the value of a variable is a switch or a number, and no secret.
func isSwitch(name, value string) bool {
	switch strings.ToLower(value) {
	case "yes", "no", "true", "false", "on", "off":
		return true
	}
	return switchNamePattern.MatchString(name) && len(value) < minSecretLength
}

// isNeverEmpty reports whether the secret in a variable must not be empty.
func isNeverEmpty(s *compose.Service, name string) bool {
	if neverEmptyPattern.MatchString(strings.TrimSuffix(name, "_FILE")) {
		return true
	}
	u, err := url.Parse(*s.Environment[name])
	return err == nil && databaseSchemePattern.MatchString(u.Scheme)
}

// emptyPasswordSetting returns the variable that allows a login without a password to a service's database, or "".
func emptyPasswordSetting(s *compose.Service) string {
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		value := strings.ToLower(*cmp.Or(s.Environment[name], new(string)))
		isOff := value == "" || strings.HasPrefix(name, "ALLOW_") && slices.Contains([]string{"no", "false", "0", "off"}, value)
		if allowEmptyPattern.MatchString(name) && !isOff || name == "POSTGRES_HOST_AUTH_METHOD" && value == "trust" {
			return name
		}
	}
	return ""
}

// othersAllowEmptyPasswords reports whether a service other than one allows empty passwords. An empty password of that one may then be
// right.
func (s *stack) othersAllowEmptyPasswords(than *compose.Service) bool {
	return slices.ContainsFunc(s.activeServices(), func(other *compose.Service) bool { return other != than && emptyPasswordSetting(other) != "" })
}

// hasSecret reports whether an .env file sets a variable that is a secret by its name, or a URL with a password. A file that can't be
// read may.
func hasSecret(file string) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"' `)
		if value == "" || strings.HasPrefix(name, "#") {
			continue
		}
		u, err := url.Parse(value)
		if secretNamePattern.MatchString(strings.TrimSpace(name)) || err == nil && u.User != nil {
			return true
		}
	}
	return false
}

// checkEnvFiles reports .env files with secrets that other users of this machine can read.
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
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o077 != 0 && hasSecret(file) {
			all = append(all, warningFinding("secret", fmt.Sprintf("chmod 600 %s", file), "%s can be read by other users of this machine (%s)", file, info.Mode()&fs.ModePerm))
		}
	}
	return all
}
