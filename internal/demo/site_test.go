package demo_test

import (
	"regexp"
	"strings"
	"testing"
)

func TestWebAppServesItsPageAtEveryPath(t *testing.T) {
	s := startDemo(t)
	for _, path := range []string{"/", "/index.html", "/invoices/7", "/assets/missing.js"} {
		got := s.get(s.url("bigcapital-webapp:80", 0, path))
		if got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/html") || !strings.Contains(got.body, `id="socket-state"`) {
			t.Errorf("%s: %d %v", path, got.status, got.header)
		}
	}
}

func TestPageLinksAssetsByContentHash(t *testing.T) {
	s := startDemo(t)
	page := s.get(s.url("bigcapital-webapp:80", 0, "/")).body
	found := regexp.MustCompile(`(?:src|href)="(/[^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(found) != 4 {
		t.Fatalf("%d assets: %v", len(found), found)
	}
	for _, match := range found {
		got := s.get(s.url("bigcapital-webapp:80", 0, match[1]))
		if !strings.Contains(match[1], "?v=") || got.status != 200 || strings.HasPrefix(got.header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d %s", match[1], got.status, got.header.Get("Content-Type"))
		}
	}
	for _, outside := range []string{"http://", "https://", "//"} {
		if strings.Contains(page, `"`+outside) {
			t.Errorf("the page links to another site with %s", outside)
		}
	}
}

func TestDocsHaveETagsAndReturn404(t *testing.T) {
	s := startDemo(t)
	for _, path := range []string{"/", "/health.html", "/sockets.html", "/docs.css"} {
		first := s.get(s.url("corteza-docs:80", 0, path))
		tag := first.header.Get("ETag")
		if first.status != 200 || tag == "" {
			t.Errorf("%s: %d, ETag %q", path, first.status, tag)
		}
		again := s.do("GET", s.url("corteza-docs:80", 0, path), "", "If-None-Match", tag)
		if again.status != 304 || again.body != "" {
			t.Errorf("%s again: %d", path, again.status)
		}
	}
	got := s.get(s.url("corteza-docs:80", 0, "/missing.html"))
	if got.status != 404 || !strings.Contains(got.body, "Not found") || got.header.Get("ETag") != "" {
		t.Errorf("missing page: %d %v", got.status, got.header)
	}
	if got := s.do("POST", s.url("corteza-docs:80", 0, "/"), ""); got.status != 405 {
		t.Errorf("POST: %d", got.status)
	}
}

func TestDocsLinksResolve(t *testing.T) {
	s := startDemo(t)
	for _, path := range []string{"/", "/health.html", "/sockets.html", "/404.html"} {
		page := s.get(s.url("corteza-docs:80", 0, path)).body
		for _, match := range regexp.MustCompile(`href="([^"]+)"`).FindAllStringSubmatch(page, -1) {
			if got := s.get(s.url("corteza-docs:80", 0, match[1])); got.status != 200 {
				t.Errorf("%s on %s: %d", match[1], path, got.status)
			}
		}
	}
}
