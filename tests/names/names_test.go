package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const table = "# Glossary\n\n| Retired | Instead | Where |\n|---|---|---|\n| `*living*` | `runtime` | everywhere |\n| `use`, `HeldBackError` | `serviceReference` | `modules/edge` |\n| `guard/`, `Refused()` | `socketproxy` | everywhere |\n"

func TestRetiredNamesAreFound(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"part of an identifier":    {"a/a.go", "package a\n\nfunc takeLiving() {}\n", "a.go:3:6: takeLiving is a retired name: `runtime`"},
		"local":                    {"a/a.go", "package a\n\nfunc f() { livingOnes := 1; _ = livingOnes }\n", "livingOnes is a retired name"},
		"parameter":                {"a/a.go", "package a\n\nfunc f(living int) {}\n", "living is a retired name"},
		"field":                    {"modules/edge/a.go", "package edge\n\ntype a struct{ use int }\n", "use is a retired name: `serviceReference`"},
		"method of an interface":   {"modules/edge/a.go", "package edge\n\ntype a interface{ Use() }\n", "Use is a retired name"},
		"several words":            {"modules/edge/a.go", "package edge\n\ntype HeldBackError int\n", "HeldBackError is a retired name"},
		"file":                     {"a/living_test.go", "package a\n", "living is a retired name"},
		"package":                  {"living/a.go", "package living\n", "living is a retired name"},
		"package alone":            {"guard/a.go", "package guard\n", "guard is a retired name"},
		"not a package":            {"a/guard.go", "package a\n\ntype guard struct{ guard int }\n", ""},
		"method":                   {"a/a.go", "package a\n\nfunc (b) Refused() {}\n", "Refused is a retired name"},
		"not a method":             {"a/a.go", "package a\n\ntype b struct{ Refused int }\n", ""},
		"whole name elsewhere":     {"a/a.go", "package a\n\ntype use int\n", ""},
		"whole name of a local":    {"modules/edge/a.go", "package edge\n\nfunc f(use int) {}\n", ""},
		"part of another name":     {"modules/edge/a.go", "package edge\n\ntype user int\n\ntype useCount int\n", ""},
		"word with another ending": {"a/a.go", "package a\n\ntype livings int\n", ""},
		"use of another package's": {"a/a.go", "package a\n\nimport \"b\"\n\nvar x = b.Living\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for path, text := range map[string]string{glossary: table, c.file: c.text} {
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			switch err := run(root); {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestAGlossaryWithoutRetiredNamesIsAnError(t *testing.T) {
	for _, text := range []string{"", "| a | b | c |\n|---|---|---|\n| `x` | y | z |\n", "| Retired | Instead | Where |\n|---|---|---|\n| x | y | z |\n"} {
		if _, err := parseGlossary(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}
