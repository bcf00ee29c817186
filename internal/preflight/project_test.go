package preflight

import (
	"strings"
	"testing"
)

// TestRoutesToOtherProjects has a shared network, on which project blog has the services web and app, and project wiki has web. The
// stack itself is project shop, with app. Project far has web on a network of its own.
func TestRoutesToOtherProjects(t *testing.T) {
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
		{"unknown project", "", "nowhere/web:80", true, Error, "there is no project nowhere on this machine", "correct the name; there are: blog/app, blog/web, wiki/web"},
		{"unknown project, others are served", `"shop", "wiki"`, "nowhere/web:80", true, Error, "there is no project nowhere on this machine", "--with DIR"},
		{"unknown service", "", "wiki/wbe:80", true, Warning, "project wiki has no container of wbe", "correct the name; there are: blog/app, blog/web, wiki/web"},
		{"unknown service of any project", "", "wbe:80", true, Error, "the compose file has no service wbe", "there are: app, docker-guard, edge, blog/app, blog/web, wiki/web"},
		{"served, and not on the edge's network", `"shop", "far"`, "far/web:80", false, OK, "far/web:80: project far has it", ""},
		{"its own, with the project", "", "shop/app:3000", false, OK, "app exposes it", ""},
		{"its own, and another's", `"shop", "blog"`, "app:3000", false, Error, "the projects shop and blog have it", "shop/app:3000 or blog/app:3000"},
		{"its own with the project, and another's", `"shop", "blog"`, "shop/app:3000", false, OK, "app exposes it", ""},
		{"its own, which is not served", `"blog"`, "shop/app:3000", false, Error, "the edge does not serve its own project, shop, which has app", "write `projects blog shop`"},
		{"a pool", "", "app:3000,blog/web:80", false, OK, "blog/web:80: project blog has it", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newFakeHostWithRoute(t, c.service)
			w.adaptedConfig = strings.Replace(w.adaptedConfig, `"edge": {`, `"edge": {"projects": [`+c.projects+`], `, 1)
			others := []string{"blog/web/shop_web", "blog/app/shop_web"}
			if c.wikiHasWeb {
				others = append(others, "wiki/web/shop_web")
			}
			if c.projects != `"any"` {
				others = append(others, "far/web/far_default")
			}
			w.otherContainers(others...)
			expectFinding(t, w.newCheck(t).Run(t.Context()), "route", c.level, c.message, c.hint)
		})
	}
}

// otherContainers sets the containers of other projects, as PROJECT/SERVICE/NETWORK.
func (w *fakeHost) otherContainers(all ...string) {
	var lines []string
	for _, text := range all {
		fields := strings.Split(text, "/")
		lines = append(lines, fields[0]+"\t"+fields[1]+"\t"+fields[0]+"-"+fields[1]+"-1\t"+fields[2]+",other\n")
	}
	w.dockerOutputs["ps --all --filter label=com.docker.compose.oneoff=False --format {{.Label \"com.docker.compose.project\"}}{{\"\\t\"}}{{.Label"] = strings.Join(lines, "")
}
