package main

import (
	"fmt"
	"strings"
)

// retiredName is a row of the table of retired names: `old` | `new` | where.
type retiredName struct {
	words   []string // in lower case
	isPart  bool     // of identifiers, not only the whole of one
	only    kind     // of declaration; anything: every kind
	instead string
	dirs    []string // directories, with what is below them; none: everywhere
}

// parseGlossary returns the rows of the tables whose first column is "Retired".
func parseGlossary(text string) (all []retiredName, err error) {
	isTable := false
	for i, line := range strings.Split(text, "\n") {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "|") || len(cells) != 3 {
			isTable = false
			continue
		}
		for j := range cells {
			cells[j] = strings.TrimSpace(cells[j])
		}
		switch {
		case cells[0] == "Retired":
			isTable = true
			continue
		case !isTable || strings.Trim(cells[0], "-: ") == "":
			continue
		}
		names := codeSpans(cells[0])
		if len(names) == 0 {
			return nil, fmt.Errorf("line %d: no name in backticks in %q", i+1, cells[0])
		}
		for _, name := range names {
			r := retiredName{instead: cells[1], dirs: codeSpans(cells[2])}
			if bare, ok := strings.CutSuffix(name, "/"); ok {
				name, r.only = bare, packageName
			} else if bare, ok := strings.CutSuffix(name, "()"); ok {
				name, r.only = bare, function
			}
			bare := strings.Trim(name, "*")
			r.words, r.isPart = words(bare), bare != name
			all = append(all, r)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no table with the columns Retired, Instead, Where")
	}
	return all, nil
}

// codeSpans returns what is in backticks.
func codeSpans(text string) (spans []string) {
	for i, part := range strings.Split(text, "`") {
		if i%2 == 1 {
			spans = append(spans, part)
		}
	}
	return spans
}

// forbids reports whether a declaration has the retired name.
func (r retiredName) forbids(d declaration) bool {
	if len(r.dirs) > 0 && !contains(r.dirs, d.dir) || r.only != anything && r.only != d.kind {
		return false
	}
	have := words(d.name)
	if !r.isPart {
		return d.kind != local && strings.Join(have, " ") == strings.Join(r.words, " ")
	}
	return strings.Contains(" "+strings.Join(have, " ")+" ", " "+strings.Join(r.words, " ")+" ")
}

func contains(dirs []string, dir string) bool {
	for _, d := range dirs {
		if dir == d || strings.HasPrefix(dir, d+"/") {
			return true
		}
	}
	return false
}

// words splits a name at its humps, underscores and dashes: HeldBackError is held, back, error.
func words(name string) []string {
	var b strings.Builder
	runes := []rune(name)
	for i, c := range runes {
		isUpper := c >= 'A' && c <= 'Z'
		startsWord := isUpper && i > 0 && (runes[i-1] < 'A' || runes[i-1] > 'Z' || i+1 < len(runes) && runes[i+1] >= 'a' && runes[i+1] <= 'z')
		if startsWord || c == '_' || c == '-' || c == '.' {
			b.WriteRune(' ')
		}
		if c != '_' && c != '-' && c != '.' {
			b.WriteRune(c)
		}
	}
	return strings.Fields(strings.ToLower(b.String()))
}
