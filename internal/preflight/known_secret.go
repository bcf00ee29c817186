package preflight

import (
	"regexp"
	"strings"
)

// knownSecrets are values from the documentation, the examples and the source code of applications, in lower case.
var knownSecrets = map[string]bool{
	"123123": true, "1234": true, "12345": true, "123456": true, "12345678": true, "123456789": true, "1234567890": true, "admin": true,
	"bigcapital": true, "corteza": true, "default": true, "example": true, "guest": true, "jwtsecret": true, "letmein": true,
	"mariadb": true, "minioadmin": true, "mysql": true, "p@ssw0rd": true, "passw0rd": true, "qwerty": true, "toor": true, "xxx": true,
	// BigCapital's .env.example and server, JWT_SECRET.
	"b0jdzw56rnv6aethb0rgpxvecui": true,
}

// placeholderPattern matches values that ask to be replaced: change-me, REPLACE_WITH_…, your-secret, <password>.
var placeholderPattern = regexp.MustCompile(`(?i)(chang|replac)e[-_ ]?(me|it|this|with)|(^|[-_ ])your[-_ ]|some[-_ ]?random|placeholder|^<.*>$|^\{\{.*\}\}$|^\[.*\]$`)

// vocabularyPattern matches values that consist of usual words for secrets and their users: postgres, root_password, mysecretpassword, test123.
var vocabularyPattern = regexp.MustCompile(`(?i)^((admin|app|api|auth|cookie|database|db|default|demo|dev|example|jwt|key|local|mariadb|mongo|mongodb|my|mysql|pass|passwd|password|postgres|postgresql|private|redis|root|secret|session|super|test|token|top|user|value|very)[-_ .]?)+[0-9]{0,6}!*$`)

// isKnownSecret reports whether a secret is publicly known: it is published, is a placeholder, repeats one character, or consists of
// usual words.
func isKnownSecret(value string) bool {
	value = strings.Trim(strings.TrimSpace(value), `"'`) // quotes are part of the value in an environment in list form
	if value == "" {
		return false
	}
	repeated := strings.Trim(value, value[:1]) == ""
	return knownSecrets[strings.ToLower(value)] || repeated || placeholderPattern.MatchString(value) || vocabularyPattern.MatchString(value)
}
