// Command names fails if a retired name is declared again: `go run ./tests/names`, from the top of a checkout.
//
// docs/glossary.md lists the retired names. One in asterisks, `*living*`, may not be a part of any identifier, package or
// file name; one without, `use`, may not be the whole name of a package, a file, a member or a top-level declaration. One with a
// slash, `guard/`, may not be the name of a package, and one with parentheses, `Refused()`, that of a function or a method.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

const glossary = "docs/glossary.md"

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "edge: error:", err)
		fmt.Fprintln(os.Stderr, "edge: hint: use the name that "+glossary+" gives instead")
		os.Exit(1)
	}
}

func run(root string) error {
	text, err := os.ReadFile(filepath.Join(root, glossary))
	if err != nil {
		return fmt.Errorf("read the glossary: %w", err)
	}
	retired, err := parseGlossary(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", glossary, err)
	}
	declared, err := declarations(root)
	if err != nil {
		return err
	}
	var found []error
	for _, d := range declared {
		if i := slices.IndexFunc(retired, func(r retiredName) bool { return r.forbids(d) }); i >= 0 {
			found = append(found, fmt.Errorf("%s: %s is a retired name: %s", d.position, d.name, retired[i].instead))
		}
	}
	return errors.Join(found...)
}

// declarations returns what the Go files below root declare.
func declarations(root string) (all []declaration, err error) {
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == "testdata" || len(entry.Name()) > 1 && entry.Name()[0] == '.'):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		found, err := declarationsOf(path, filepath.ToSlash(dir))
		all = append(all, found...)
		return err
	})
	return all, err
}
