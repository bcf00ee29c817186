package edge_test

import (
	"go/scanner"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// The info string of a fenced block names its language and, after a space, the context of the block:
//
//	caddyfile             a whole Caddyfile
//	caddyfile CONTEXT     lines for one of the contexts below, such as "caddyfile site"
//	caddyfile shipped     what is added to the end of the shipped Caddyfile
//	json                  JSON
//	json config           Caddy's whole configuration
//	json handlers         a handler, or a list of handlers
//	yaml                  YAML
//	text                  output of a program, a figure, or a syntax with placeholders
//
// Blocks in the other languages are not run.
var languages = []string{"caddyfile", "json", "yaml", "text", "bash", "nginx", "dockerfile", "ini"}

// contexts are the Caddyfiles for the contexts, with a placeholder for the block.
var contexts = map[string]string{
	"":           "%s",
	"file":       "%s",
	"global":     "{\n%s\n}\n",
	"site":       "example.test {\n%s\n}\n",
	"edge_proxy": "http://example.test {\n\tedge_proxy example:8080 {\n%s\n\t}\n}\n",
	"bigcapital": "http://example.test {\n\tbigcapital {\n%s\n\t}\n}\n",
	"corteza":    "http://example.test {\n\tcorteza {\n%s\n\t}\n}\n",
}

// oneLineBlock matches a Caddyfile block on one line, which is a syntax error. Text that ends with "; }" is nginx configuration.
var oneLineBlock = regexp.MustCompile(`[^\s{}]+ \{ [^{};]*[^{}; ] \}`)

// TestDocsSnippetsAreValid provisions, or parses, each fenced block of each Markdown file.
func TestDocsSnippetsAreValid(t *testing.T) {
	v := newValidator(t)
	caddyfiles := 0
	for _, page := range pages(t) {
		for _, block := range page.blocks {
			if err := v.check(block); err != nil {
				t.Errorf("%s:%d: %v\n%s", page.file, block.line, err, block.text)
			}
			if block.language == "caddyfile" {
				caddyfiles++
			}
		}
	}
	if caddyfiles < 30 {
		t.Errorf("found %d Caddyfile blocks: the test does not see them all", caddyfiles)
	}
}

// TestDocsTablesOfLinesAreValid provisions the code in the last column of each table "… | where | Caddyfile", for each context that the second column names. Rows with another second column are not run.
func TestDocsTablesOfLinesAreValid(t *testing.T) {
	v := newValidator(t)
	rows := 0
	for _, page := range pages(t) {
		isTable := false
		for _, p := range page.paragraphs {
			cells := tableCells(p.text)
			if len(cells) != 3 {
				isTable = false
				continue
			}
			if slices.Equal(cells[1:], []string{"where", "Caddyfile"}) {
				isTable = true
			}
			for _, where := range codeSpans(cells[1]) {
				if _, ok := contexts[where]; !isTable || !ok {
					continue
				}
				rows++
				text := strings.Join(codeSpans(cells[2]), "\n")
				if text == "" {
					t.Errorf("%s:%d: the row has no Caddyfile line", page.file, p.line)
				} else if err := v.check(block{language: "caddyfile", context: where, text: text}); err != nil {
					t.Errorf("%s:%d: %s: %v\n%s", page.file, p.line, where, err, text)
				}
			}
		}
	}
	if rows < 90 {
		t.Errorf("found %d rows with Caddyfile lines: the test does not see them all", rows)
	}
}

// TestDocsMatchClientsByClientIP: with a proxy in front, remote_ip is the address of the proxy.
func TestDocsMatchClientsByClientIP(t *testing.T) {
	matcher := regexp.MustCompile(`@\S+ (not )?remote_ip`)
	for _, page := range pages(t) {
		for _, b := range page.blocks {
			if found := matcher.FindString(b.text); found != "" {
				t.Errorf("%s:%d: %s does not match clients of a trusted proxy", page.file, b.line, found)
			}
		}
		for _, p := range page.paragraphs {
			if found := matcher.FindString(p.text); found != "" {
				t.Errorf("%s:%d: %s does not match clients of a trusted proxy", page.file, p.line, found)
			}
		}
	}
}

// TestDocsQuoteTheReliabilityPage: the numbers of requests in other pages are those of the last run.
func TestDocsQuoteTheReliabilityPage(t *testing.T) {
	quoted := regexp.MustCompile(`\b\d[\d,]* of \d[\d,]*\b`)
	report := read(t, "docs/reliability.md")
	found := 0
	for _, page := range pages(t) {
		if page.file != "README.md" && page.file != "docs/how-it-works.md" {
			continue
		}
		for _, p := range page.paragraphs {
			for _, number := range quoted.FindAllString(p.text, -1) {
				found++
				if !strings.Contains(report, " "+strings.ReplaceAll(number, ",", "")+" ") {
					t.Errorf("%s:%d: docs/reliability.md does not have %s", page.file, p.line, number)
				}
			}
		}
	}
	if found < 16 {
		t.Errorf("found %d numbers of requests: the test does not see them all", found)
	}
}

// TestDocsShowNoBlockOnOneLine: a user who copies such a block gets a syntax error.
func TestDocsShowNoBlockOnOneLine(t *testing.T) {
	for _, page := range pages(t) {
		for _, p := range page.paragraphs {
			for _, span := range codeSpans(p.text) {
				if oneLineBlock.MatchString(span) {
					t.Errorf("%s:%d: a block needs several lines: %s", page.file, p.line, span)
				}
			}
		}
	}
}

// TestHintsShowNoBlockOnOneLine checks the strings and comments of modules and commands, and the messages in fixtures.
func TestHintsShowNoBlockOnOneLine(t *testing.T) {
	report := func(file string, line int, text string) {
		if found := oneLineBlock.FindString(text); found != "" {
			t.Errorf("%s:%d: a block needs several lines: %s", file, line, found)
		}
	}
	messages := 0
	for _, file := range files(t, ".txtar") {
		for _, section := range txtar.Parse([]byte(read(t, file))).Files {
			if section.Name == "error" {
				messages++
				report(file, 1, string(section.Data))
			}
		}
	}
	if messages == 0 {
		t.Error("no fixture has a section error")
	}
	for _, file := range files(t, ".go") {
		inProgram := strings.HasPrefix(file, "modules/") || strings.HasPrefix(file, "cmd/") || strings.HasPrefix(file, "internal/")
		if !inProgram || strings.HasSuffix(file, "_test.go") {
			continue
		}
		text := []byte(read(t, file))
		set := token.NewFileSet()
		var s scanner.Scanner
		s.Init(set.AddFile(file, -1, len(text)), text, nil, scanner.ScanComments)
		for pos, tok, lit := s.Scan(); tok != token.EOF; pos, tok, lit = s.Scan() {
			if tok == token.STRING || tok == token.COMMENT {
				report(file, set.Position(pos).Line, lit)
			}
		}
	}
}

// TestDocsValidatorRejectsInvalidBlocks: the tests above fail for a block that a user could not use.
func TestDocsValidatorRejectsInvalidBlocks(t *testing.T) {
	v := newValidator(t)
	for name, b := range map[string]block{
		"a block on one line":         {language: "caddyfile", context: "edge_proxy", text: "probe { uri /health }"},
		"an unknown directive":        {language: "caddyfile", text: "http://example.test {\n\tproxy_pass app:8080\n}"},
		"what only provisioning sees": {language: "caddyfile", context: "site", text: "@a path_regexp (\nrespond @a 404"},
		"a context that is not there": {language: "caddyfile", context: "stream", text: "edge_proxy app:8080"},
		"a snippet that is not there": {language: "caddyfile", context: "shipped", text: "app.test {\n\timport sites\n}"},
		"an unknown field of JSON":    {language: "json", context: "handlers", text: `{"handler": "error_pages", "contact": "me"}`},
		"half of JSON":                {language: "json", text: `{"handler": `},
		"YAML with a tab":             {language: "yaml", text: "services:\n\tweb: {}"},
		"no language":                 {text: "respond 404"},
	} {
		if v.check(b) == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if !oneLineBlock.MatchString("basic_auth /private/* { alice HASH }") || oneLineBlock.MatchString("location / { return 444; }") {
		t.Error("blocks on one line are not told from nginx's")
	}
}
