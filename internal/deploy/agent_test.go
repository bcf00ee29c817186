package deploy

import (
	"slices"
	"strings"
	"testing"
)

const testDigest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

var testAllowances = []Allowance{{"web", "registry.example.com/shop/web"}, {"api", "registry.example.com:5000/shop/api"}}

func TestAgentReadsCommands(t *testing.T) {
	for text, want := range map[string][]ServiceImage{
		"deploy web registry.example.com/shop/web:1.3":     {{"web", "registry.example.com/shop/web:1.3"}},
		" deploy  web registry.example.com/shop/web:1.3\n": {{"web", "registry.example.com/shop/web:1.3"}},
		"deploy web registry.example.com/shop/web:1 api registry.example.com:5000/shop/api" + testDigest: {
			{"web", "registry.example.com/shop/web:1"}, {"api", "registry.example.com:5000/shop/api" + testDigest},
		},
	} {
		got, err := ParseCommand(text, testAllowances, false)
		if err != nil || !slices.Equal(got.Images, want) || got.Undo != "" {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	if got, err := ParseCommand("undo api", testAllowances, true); err != nil || got.Undo != "api" {
		t.Errorf("undo: %+v, %v", got, err)
	}
}

func TestAgentRefusesEverythingElse(t *testing.T) {
	const notAllowed = "may not do that"
	for text, want := range map[string]string{
		"":                "no such command",
		"sh":              "no such command",
		"sh -c id":        "no such command",
		"deploy":          "no such command",
		"deploy web":      "no such command",
		"deploy --help x": notAllowed,
		"undo":            "no such command",
		"undo web api":    "no such command",
		"undo --list":     notAllowed,
		"undo db":         notAllowed,
		"deploy db registry.example.com/shop/web:1":          notAllowed,
		"deploy web registry.example.com/shop/api:1":         notAllowed,
		"deploy web registry.example.com/shop/web2:1":        notAllowed,
		"deploy web registry.example.com/shop/web/x:1":       notAllowed,
		"deploy web evil.example.com/shop/web:1":             notAllowed,
		"deploy web registry.example.com:5000/shop/web:1":    notAllowed,
		"deploy web registry.example.com/shop/../shop/web:1": "not the name of an image",
		"deploy web registry.example.com/shop/web:1;id":      "not the name of an image",
		"deploy web $(id)":                                    "not the name of an image",
		"deploy web --privileged":                             "not the name of an image",
		"deploy web registry.example.com/shop/web:1 && id":    notAllowed,
		"deploy web registry.example.com/shop/web:1\x00 x y":  "not the name of an image",
		"DEPLOY web registry.example.com/shop/web:1":          "no such command",
		"deploy web registry.example.com/shop/web@sha256:abc": "not the name of an image",

		"deploy web registry.example.com/shop/web:1 web registry.example.com/shop/web:2": "twice",

		"deploy web " + strings.Repeat("a", 5000): "too long",
	} {
		if got, err := ParseCommand(text, testAllowances, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want %s", text, got, err, want)
		}
	}
	if _, err := ParseCommand("deploy web registry.example.com/shop/web:1", testAllowances, true); err == nil || !strings.Contains(err.Error(), "no digest") {
		t.Errorf("without a digest: %v", err)
	}
	if _, err := ParseCommand("deploy web registry.example.com/shop/web"+testDigest, testAllowances, true); err != nil {
		t.Error(err)
	}
}

func TestAllowancesNameOneRepository(t *testing.T) {
	if got, err := ParseAllowance("web=registry.example.com:5000/shop/web"); err != nil || got != (Allowance{"web", "registry.example.com:5000/shop/web"}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", "web", "web=", "=x", "web=registry.example.com/web:1", "web=x" + testDigest, "-x=web", "web=*", "web=registry.example.com/"} {
		if got, err := ParseAllowance(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

// FuzzAgentCommand: whatever a client sends, what is deployed was allowed.
func FuzzAgentCommand(f *testing.F) {
	f.Add("deploy web registry.example.com/shop/web:1")
	f.Add("deploy api registry.example.com:5000/shop/api" + testDigest)
	f.Add("undo web")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCommand(text, testAllowances, false)
		if err != nil {
			return
		}
		if c.Undo != "" && c.Undo != "web" && c.Undo != "api" {
			t.Fatalf("%q undoes %q", text, c.Undo)
		}
		for _, i := range c.Images {
			repository, _, _ := splitImage(i.Image)
			if !slices.Contains(testAllowances, Allowance{i.Service, repository}) || strings.HasPrefix(i.Image, "-") || strings.ContainsAny(i.Image, " \t\n\"'$`;&|<>\\") {
				t.Fatalf("%q deploys %+v", text, i)
			}
		}
	})
}
