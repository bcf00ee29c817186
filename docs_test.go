package edge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"
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

// TestDocsNginxTableIsValid provisions the code in the last column of each table "nginx.conf | where | Caddyfile", for each
// context that the second column names. Rows with another second column are not run.
func TestDocsNginxTableIsValid(t *testing.T) {
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
			if slices.Equal(cells, []string{"nginx.conf", "where", "Caddyfile"}) {
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
	if rows < 30 {
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

// validator checks blocks. It provisions configurations as `edge validate` does, and starts none.
type validator struct {
	dir     string // replaces /etc/edge, and has the Caddyfiles to import
	shipped string // the shipped Caddyfile
}

func newValidator(t *testing.T) validator {
	t.Setenv("EDGE_STORAGE_DSN", "postgres://edge@127.0.0.1:1/edge")
	t.Setenv("EDGE_STORAGE_KEY", strings.Repeat("0f", 32))
	v := validator{dir: t.TempDir(), shipped: read(t, "Caddyfile")}
	certificate, key := selfSigned(t)
	for name, content := range map[string][]byte{
		"docs.pem": certificate, "docs.key": key, "clients.pem": certificate, "backend.pem": certificate,
		"sites/shop.caddyfile": []byte("http://shop.example.com {\n\tedge_proxy shop:8080\n}\n"),
	} {
		file := filepath.Join(v.dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func (v validator) check(b block) error {
	switch b.language {
	case "caddyfile":
		context, ok := contexts[b.context]
		if b.context == "shipped" {
			context, ok = strings.ReplaceAll(v.shipped, "%", "%%")+"\n%s", true
		}
		if !ok {
			return fmt.Errorf("unknown context %q", b.context)
		}
		text := strings.ReplaceAll(fmt.Sprintf(context, b.text), "/etc/edge/", v.dir+"/")
		adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": filepath.Join(v.dir, "Caddyfile")})
		if err != nil {
			return err
		}
		return v.provision(adapted)
	case "json":
		switch b.context {
		case "config":
			return v.provision([]byte(b.text))
		case "handlers":
			handlers := b.text
			if !strings.HasPrefix(handlers, "[") {
				handlers = "[" + handlers + "]"
			}
			return v.provision(fmt.Appendf(nil, `{"apps": {"http": {"servers": {"docs": {"routes": [{"handle": %s}]}}}}}`, handlers))
		}
		return json.Unmarshal([]byte(b.text), new(any))
	case "yaml":
		return yaml.Unmarshal([]byte(b.text), new(yaml.Node))
	}
	if !slices.Contains(languages, b.language) {
		return fmt.Errorf("language %q: want one of %s", b.language, strings.Join(languages, ", "))
	}
	return nil
}

// provision provisions a configuration, with its storage in the temporary directory and without logs.
func (v validator) provision(config []byte) error {
	var cfg caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &cfg); err != nil {
		return err
	}
	if cfg.StorageRaw == nil {
		cfg.StorageRaw = fmt.Appendf(nil, `{"module": "file_system", "root": %q}`, v.dir)
	}
	if cfg.Logging == nil {
		cfg.Logging = new(caddy.Logging)
	}
	if cfg.Logging.Logs == nil {
		cfg.Logging.Logs = make(map[string]*caddy.CustomLog)
	}
	quiet := new(caddy.CustomLog)
	quiet.WriterRaw = json.RawMessage(`{"output": "discard"}`)
	cfg.Logging.Logs["default"] = quiet
	return caddy.Validate(&cfg)
}

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

// selfSigned returns a new self-signed certificate and its key, in PEM.
func selfSigned(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"docs.example.com"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}
