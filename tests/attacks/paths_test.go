package attacks

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

// TestBlockedPathsStayBlockedInEverySpelling checks that no backend gets a path that it could interpret as a blocked one.
func TestBlockedPathsStayBlockedInEverySpelling(t *testing.T) {
	for host, blocked := range map[string][]string{
		"accounting.localhost": {"/api/queues", "/agendash"},
		"crm.localhost":        {"/metrics", "/console", "/debug", "/__healthcheck"},
	} {
		for _, target := range blocked {
			for _, spelled := range spellings(target) {
				backend.takeRecorded()
				answers, err := edge.send(host, "GET "+spelled+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
				got := backend.takeRecorded()
				for _, e := range got {
					if reached := canonicalPath(e.path); reached == target || strings.HasPrefix(reached, target+"/") {
						t.Errorf("%s%s: the backend gets %q, which can mean %s; the client gets %s", host, spelled, e.path, target, describeAnswers(answers, err))
					}
				}
				t.Logf("ATTACK %s%-34s backend: %-40s client: %s", host, spelled, describeRequests(got), describeAnswers(answers, err))
			}
		}
	}
}

// spellings returns the ways to write a path that some program treats as the same path.
func spellings(target string) []string {
	last := target[strings.LastIndex(target, "/")+1:]
	dir := strings.TrimSuffix(target, last)
	encoded := "%" + strings.ToUpper(hexByte(last[0])) + last[1:]
	return []string{
		target, target + "/", target + "/x", strings.ToUpper(target), "/" + target, "//" + strings.TrimPrefix(target, "/"),
		dir + "/" + last, dir + "./" + last, dir + "x/../" + last, "/x/.." + target, "/./" + strings.TrimPrefix(target, "/"),
		dir + "%2e/" + last, dir + "x/%2e%2e/" + last, dir + "x/%2E%2E/" + last, dir + encoded, dir + "%25" + encoded[1:],
		"/%2f" + strings.TrimPrefix(target, "/"), "/%2F" + strings.TrimPrefix(target, "/"), strings.ReplaceAll(target, "/", "%2f"),
		dir + "%5c" + last, "/%5c" + strings.TrimPrefix(target, "/"), dir + "\\" + last,
		target + ";a=b", target + ";/x", dir + ";/" + last, target + "%3b", target + "%20", target + "%00", target + "%09", target + ".",
		target + "?x", target + "#x", target + "%3fx", target + "%23", target + "/.", target + "/..", target + "/%2e%2e/" + last,
		"http://accounting.localhost" + target, "https://crm.localhost" + target, "HTTPS://LOCALHOST" + target,
		strings.TrimPrefix(target, "/"), "*" + target, dir + "%c0%af" + last, dir + "%e2%80%8b" + last,
	}
}

func hexByte(b byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[b>>4], digits[b&15]})
}

// canonicalPath returns the path of a request's target after every normalization that some program does.
func canonicalPath(target string) string {
	if u, err := url.Parse(target); err == nil && u.IsAbs() {
		target = u.RequestURI()
	}
	target, _, _ = strings.Cut(target, "?")
	target, _, _ = strings.Cut(target, "#")
	for range 3 {
		decoded, err := url.PathUnescape(target)
		if err != nil {
			break
		}
		target = decoded
	}
	var parts []string
	for _, part := range strings.Split(strings.ReplaceAll(target, `\`, "/"), "/") {
		part, _, _ = strings.Cut(part, ";")
		if part != "." && part != ".." {
			part = strings.TrimRight(part, " \x00\t.\u200b")
		}
		parts = append(parts, part)
	}
	clean := path.Clean("/" + strings.Join(parts, "/"))
	return strings.ToLower(clean)
}
