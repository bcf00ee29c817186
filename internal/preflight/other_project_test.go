package preflight

import (
	"testing"
)

// newBlog returns the compose file of project blog: web is on the network of the edge, db is not, and admin is of a profile. It is as
// Compose prints it with all profiles.
func newBlog() jsonObject {
	return jsonObject{
		"name":     "blog",
		"networks": jsonObject{"front": jsonObject{"name": "shop_web", "external": true}, "default": jsonObject{"name": "blog_default"}},
		"services": jsonObject{
			"web":  jsonObject{"image": "example/blog:1", "expose": []string{"80"}, "networks": jsonObject{"front": nil, "default": nil}, "container_name": "Weblog"},
			"db":   jsonObject{"image": "postgres:17", "expose": []string{"5432"}, "networks": jsonObject{"default": nil}},
			"port": jsonObject{"image": "example/blog:1", "network_mode": "host"},
		},
	}
}

// TestOtherProjectsAreCheckedByTheirFiles has the project blog in /srv/blog: stopped, and named with --with; or running, and found by the
// labels of its containers.
func TestOtherProjectsAreCheckedByTheirFiles(t *testing.T) {
	for _, c := range []struct {
		service       string
		level         Level
		message, hint string
	}{
		{"blog/web:80", OK, "blog/web:80: web exposes it on shop_web (project blog)", ""},
		{"blog/web:81", Note, "web exposes 80, and not 81", "add it to expose"},
		{"blog/weblog:80", OK, "web exposes it on shop_web", ""},
		{"blog/db:5432", Error, "db and edge have no network in common (project blog)", "add db to a network of the edge, with `external: true` there: shop_web"},
		{"blog/port:80", Error, "port has network_mode host", "networks: [shop_web]"},
		{"web:80", Error, "project blog has it, which the edge does not serve", "write `projects shop blog`"},
	} {
		for _, runs := range []bool{false, true} {
			w := newFakeHostWithRoute(t, c.service)
			w.otherProjects = map[string]jsonObject{"/srv/blog": newBlog(), "blog": newBlog()}
			check := w.newCheck(t)
			if runs {
				w.otherContainers("blog/web/shop_web", "blog/weblog/shop_web", "blog/db/blog_default", "blog/port/host")
				w.dockerOutputs["ps --all --filter label=com.docker.compose.project=blog "] = "/srv/blog\t/srv/blog/compose.yaml\t\n"
			} else {
				check.With = []string{"/srv/blog"}
			}
			all := check.Run(t.Context())
			expectFinding(t, all, "route", c.level, c.message, c.hint)
			if !runs {
				expectFinding(t, all, "compose file", OK, "/srv/blog: project blog (services: 3)", "")
			}
		}
	}
}

func TestOtherProjectsThatCanNotBeRead(t *testing.T) {
	w := newFakeHostWithRoute(t, "blog/web:80")
	w.otherProjects = map[string]jsonObject{"/srv/shop": {"name": "shop", "services": jsonObject{}}, "/srv/blog": newBlog(), "/srv/blog2": newBlog()}
	check := w.newCheck(t)
	check.With = []string{"/srv/nothing", "/srv/shop", "/srv/blog", "/srv/blog2"}
	all := check.Run(t.Context())
	expectFinding(t, all, "compose file", Error, "/srv/nothing: no configuration file provided", "--with")
	expectFinding(t, all, "compose file", Error, "/srv/shop: its project has the name of this one, shop", "write `name: `")
	expectFinding(t, all, "compose file", Error, "/srv/blog2: another directory has a project blog too", "write `name: `")

	// A project that runs, whose files are another user's: its containers' labels have to do.
	w = newFakeHostWithRoute(t, "blog/web:80")
	w.otherContainers("blog/web/shop_web")
	w.dockerOutputs["ps --all --filter label=com.docker.compose.project=blog "] = "/home/ann/blog\t/home/ann/blog/compose.yaml\t\n"
	expectFinding(t, w.newCheck(t).Run(t.Context()), "route", OK, "blog/web:80: project blog has it", "")
}

// TestAContainerOfAnotherProjectByItsName: a route can have the name of a container.
func TestAContainerOfAnotherProjectByItsName(t *testing.T) {
	w := newFakeHostWithRoute(t, "wiki-cache-1:80")
	w.otherContainers("wiki/cache/shop_web")
	expectFinding(t, w.newCheck(t).Run(t.Context()), "route", Error, "wiki-cache-1:80: project wiki has it, which the edge does not serve", "write `projects shop wiki`")
}
