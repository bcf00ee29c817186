package edge_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// page is a Markdown file: its fenced blocks, and its paragraphs.
type page struct {
	file       string
	blocks     []block
	paragraphs []paragraph
}

// block is a fenced block.
type block struct {
	line              int // of its first fence
	language, context string
	text              string
}

// paragraph is a row of a table, or consecutive lines of prose.
type paragraph struct {
	line int
	text string
}

// pages returns all Markdown files of the repository.
func pages(t *testing.T) []page {
	t.Helper()
	var all []page
	for _, file := range files(t, ".md") {
		p := page{file: file}
		var open *block
		begins := true // whether the next line of prose begins a paragraph
		for i, line := range strings.Split(read(t, file), "\n") {
			trimmed := strings.TrimSpace(line)
			info, isFence := strings.CutPrefix(trimmed, "```")
			switch {
			case isFence && open == nil:
				language, context, _ := strings.Cut(strings.TrimSpace(info), " ")
				open = &block{line: i + 1, language: language, context: context}
			case isFence:
				p.blocks = append(p.blocks, *open)
				open, begins = nil, true
			case open != nil:
				open.text += line + "\n"
			case trimmed == "":
				begins = true
			default:
				isRow := strings.HasPrefix(trimmed, "|")
				if begins || isRow {
					p.paragraphs = append(p.paragraphs, paragraph{line: i + 1})
				}
				p.paragraphs[len(p.paragraphs)-1].text += line + "\n"
				begins = isRow
			}
		}
		if open != nil {
			t.Errorf("%s:%d: the block has no end", file, open.line)
		}
		all = append(all, p)
	}
	return all
}

// tableCells returns the cells of a row; none for a paragraph that is no row.
func tableCells(row string) []string {
	row = strings.TrimSpace(row)
	if len(row) < 2 || row[0] != '|' || row[len(row)-1] != '|' {
		return nil
	}
	cells := strings.Split(strings.ReplaceAll(row[1:len(row)-1], `\|`, "\x00"), "|")
	for i, cell := range cells {
		cells[i] = strings.ReplaceAll(strings.TrimSpace(cell), "\x00", "|")
	}
	return cells
}

var codeSpan = regexp.MustCompile("``(?:[^`]|`[^`])+``|`[^`]+`")

func codeSpans(text string) []string {
	spans := codeSpan.FindAllString(text, -1)
	for i, span := range spans {
		spans[i] = strings.TrimSpace(strings.Trim(span, "`"))
	}
	return spans
}

// files returns the files of the repository whose names end with suffix, except those in hidden directories.
func files(t *testing.T, suffix string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "node_modules") {
			return fs.SkipDir
		}
		if !entry.IsDir() && strings.HasSuffix(path, suffix) {
			found = append(found, filepath.ToSlash(path))
		}
		return nil
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("no files %s: %v", suffix, err)
	}
	return found
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
