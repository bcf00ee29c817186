// Package redact removes secrets from what is written to logs.
package redact

import (
	"net/url"
	"slices"
	"strings"
)

// Mark is in the place of a secret.
const Mark = "REDACTED"

// URI returns a request target, or a URL, without secrets: without user information, and with [Mark] in the place of the values of parameters whose
// names or values look like those of secrets, and of parts of the path that do.
func URI(uri string) string {
	path, query, hasQuery := strings.Cut(uri, "?")
	path = redactPath(path)
	if !hasQuery {
		return path
	}
	query, _, _ = strings.Cut(query, "#")
	return path + "?" + redactQuery(query)
}

// Path is [URI] for a path alone, which may be decoded: a question mark in it begins no query.
func Path(path string) string { return redactPath(path) }

// secretNames are names of parameters that have secrets; secretParts are parts of such names. Both are in lower case without separators.
var (
	secretNames = []string{"sid", "code", "state", "key", "sig", "pin", "pass", "pwd", "access", "nonce", "hash", "assertion", "samlresponse", "samlrequest", "relaystate"}
	secretParts = []string{"token", "secret", "passw", "apikey", "accesskey", "auth", "session", "jwt", "otp", "signature", "credential", "ticket", "bearer"}
)

var separators = strings.NewReplacer("-", "", "_", "", ".", "", "[", "", "]", "")

func isSecretName(name string) bool {
	name = separators.Replace(strings.ToLower(name))
	return slices.Contains(secretNames, name) || slices.ContainsFunc(secretParts, func(part string) bool { return strings.Contains(name, part) })
}

// redactQuery keeps the parameters as they are written, so that a log shows what the client has sent.
func redactQuery(query string) string {
	var b strings.Builder
	for len(query) > 0 {
		end := strings.IndexAny(query, "&;")
		pair, separator := query, ""
		if end >= 0 {
			pair, separator = query[:end], query[end:end+1]
		}
		query = query[len(pair)+len(separator):]
		name, value, hasValue := strings.Cut(pair, "=")
		switch {
		case !hasValue && isSecretValue(name):
			b.WriteString(Mark)
		case hasValue && value != "" && (isSecretName(decoded(name)) || isSecretValue(value)):
			b.WriteString(name + "=" + Mark)
		default:
			b.WriteString(pair)
		}
		b.WriteString(separator)
	}
	return b.String()
}

// decoded returns a part of a query without its escapes. One that cannot be decoded is returned as it is.
func decoded(text string) string {
	if !strings.ContainsAny(text, "%+") {
		return text
	}
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}

// isSecretValue reports whether a value, in a query, looks like a secret, or is a URL with one.
func isSecretValue(value string) bool {
	value = decoded(value)
	if strings.ContainsAny(value, "/?=") {
		return URI(value) != value
	}
	return isRandom(value)
}

// secretDirectories are parts of paths after which applications put a token: in the links of the mails that they send.
var secretDirectories = []string{"reset", "invite", "token", "verify", "confirm", "activate", "unsubscribe", "magic", "otp"}

func isSecretDirectory(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(secretDirectories, func(part string) bool { return strings.Contains(name, part) })
}

func redactPath(path string) string {
	scheme, rest, isURL := strings.Cut(path, "://")
	if isURL {
		authority, tail, hasTail := strings.Cut(rest, "/")
		if i := strings.LastIndexByte(authority, '@'); i >= 0 {
			authority = Mark + authority[i:]
		}
		if !hasTail {
			return scheme + "://" + authority
		}
		return scheme + "://" + authority + "/" + redactPath(tail)
	}
	if !strings.ContainsAny(path, "0123456789") { // each secret that is found has one
		return path
	}
	segments := strings.Split(path, "/")
	isChanged := false
	for i, s := range segments {
		if strings.Contains(s, "%") {
			if plain, err := url.PathUnescape(s); err == nil {
				s = plain
			}
		}
		if isRandom(s) || i > 0 && len(s) >= 8 && strings.ContainsAny(s, "0123456789") && isSecretDirectory(segments[i-1]) {
			segments[i], isChanged = Mark, true
		}
	}
	if !isChanged {
		return path
	}
	return strings.Join(segments, "/")
}

const (
	// minRandomRun is how many letters and digits in a row can be a secret.
	minRandomRun = 16
	// minRandomText is how long a text with separators, but upper and lower case and digits, can be one.
	minRandomText = 32
)

// isRandom reports whether a text looks as if a program had made it up: as no number, word or file does.
func isRandom(text string) bool {
	if len(text) < minRandomRun || hasExtension(text) {
		return false
	}
	var run, runDigits, runLetters, upper, lower, digits int
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= '0' && c <= '9':
			run, runDigits, digits = run+1, runDigits+1, digits+1
		case c >= 'a' && c <= 'z':
			run, runLetters, lower = run+1, runLetters+1, lower+1
		case c >= 'A' && c <= 'Z':
			run, runLetters, upper = run+1, runLetters+1, upper+1
		default:
			run, runDigits, runLetters = 0, 0, 0
		}
		if run >= minRandomRun && runDigits >= 2 && runLetters >= 2 {
			return true
		}
	}
	return len(text) >= minRandomText && upper >= 2 && lower >= 2 && digits >= 2
}

// hasExtension reports whether a text ends like the name of a file, as main.8f3c2d1a9b7e4f60.js does.
func hasExtension(text string) bool {
	i := strings.LastIndexByte(text, '.')
	if i < 0 || len(text)-i > 6 || len(text)-i < 3 {
		return false
	}
	for _, c := range text[i+1:] {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return text[i+1] >= 'a'
}

// loggedHeaders are the headers of requests and responses that have no secrets.
var loggedHeaders = []string{
	"Accept", "Accept-Encoding", "Accept-Language", "Accept-Ranges", "Age", "Allow", "Alt-Svc", "Cache-Control", "Connection", "Content-Disposition",
	"Content-Encoding", "Content-Language", "Content-Length", "Content-Range", "Content-Type", "Date", "Dnt", "Etag", "Expect", "Expires", "Forwarded",
	"If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Last-Modified", "Organization-Id", "Origin", "Priority", "Range",
	"Retry-After", "Sec-Ch-Ua", "Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User",
	"Sec-Gpc", "Sec-Websocket-Extensions", "Sec-Websocket-Version", "Server", "Te", "Traceparent", "Trailer", "Transfer-Encoding",
	"Upgrade", "Upgrade-Insecure-Requests", "User-Agent", "Vary", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Id",
	"X-Requested-With",
}

// urlHeaders are those with a URL, which may have a secret.
var urlHeaders = []string{"Referer", "Location", "Content-Location"}

// Header returns the values of a header that may be logged: of one that is known to have no secrets, or of one with URLs, without secrets. Of others, it returns
// nil: a header that nobody knows may have a token. The name is in canonical form.
func Header(name string, values []string) []string {
	if isLogged[name] {
		return values
	}
	if !slices.Contains(urlHeaders, name) {
		return nil
	}
	safe := make([]string, len(values))
	for i, v := range values {
		safe[i] = URI(v)
	}
	return safe
}

var isLogged = func() map[string]bool {
	m := make(map[string]bool, len(loggedHeaders))
	for _, name := range loggedHeaders {
		m[name] = true
	}
	return m
}()
