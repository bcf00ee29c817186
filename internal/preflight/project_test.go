package preflight

import (
	"strings"
	"testing"
)

// TestRoutesToOtherProjects has a shared network, on which project blog has the services web and app, and project wiki has web. The
// stack itself is project shop, with app.
func TestRoutesToOtherProjects(t *testing.T) {
	const webList, appList = "ps --all --filter label=com.docker.compose.service=web ", "ps --all --filter label=com.docker.compose.service=app "
	for _, c := range []struct {
		name, projects, service string
		wikiHasWeb              bool
		level                   Level
		message, hint           string
	}{
		{"not served", "", "web:80", false, Error, "web:80: project blog has it, which the edge does not serve", "write `projects shop blog` in the global option edge, or blog/web:80 in the route"},
		{"two, not served", "", "web:80", true, Error, "the projects blog and wiki have it, which the edge does not serve", "blog/web:80 or wiki/web:80"},
		{"named in the route", "", "blog/web:80", true, OK, "blog/web:80: project blog has it", ""},
		{"served", `"shop", "blog"`, "web:80", false, OK, "project blog has it", ""},
		{"all served", `"any"`, "web:80", false, OK, "project blog has it", ""},
		{"two served", `"any"`, "web:80", true, Error, "the projects blog and wiki have it", "write in the route which one is meant: blog/web:80 or wiki/web:80"},
		{"one of two served", `"shop", "wiki"`, "web:80", true, OK, "project wiki has it", ""},
		{"the project is not served", `"shop", "wiki"`, "blog/web:80", true, Error, "the edge does not serve project blog", "write `projects shop wiki blog`"},
		{"unknown project", "", "nowhere/web:80", true, Warning, "project nowhere has no container of web", "com.docker.compose.project=nowhere"},
		{"its own, with the project", "", "shop/app:3000", false, OK, "app exposes it", ""},
		{"its own, and another's", `"shop", "blog"`, "app:3000", false, Error, "the projects shop and blog have it", "shop/app:3000 or blog/app:3000"},
		{"its own with the project, and another's", `"shop", "blog"`, "shop/app:3000", false, OK, "app exposes it", ""},
		{"its own, which is not served", `"blog"`, "shop/app:3000", false, Error, "the edge does not serve its own project, shop, which has app", "write `projects blog shop`"},
		{"a pool", "", "app:3000,blog/web:80", false, OK, "blog/web:80: project blog has it", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newFakeHostWithRoute(t, c.service)
			w.adaptedConfig = strings.Replace(w.adaptedConfig, `"edge": {`, `"edge": {"projects": [`+c.projects+`], `, 1)
			w.dockerOutputs[webList] = "blog\nblog\n"
			if c.wikiHasWeb {
				w.dockerOutputs[webList] = "blog\nwiki\n"
			}
			w.dockerOutputs[appList] = "blog\nshop\n"
			expectFinding(t, w.newCheck(t).Run(t.Context()), "route", c.level, c.message, c.hint)
		})
	}
}
