package tests

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/theworklabs/edge/internal/preflight"
	"github.com/theworklabs/edge/tests/harness"
)

// checkCase is a file of testdata/check: a run of `edge check` and its findings. The file has these sections; all others are files in
// the directory of the run.
//
//	environment  variables, one a line
//	flags        of edge check
//	edit         changes of the shipped Caddyfile: a line -OLD, and after it a line +NEW
//	findings     LEVEL CHECK: PART OF THE MESSAGE, one a line; a line hint: PART OF THE HINT may follow
type checkCase struct {
	environment, flags, edit []string
	files                    []txtar.File
	findings                 []wantedFinding
}

// wantedFinding is a finding, with parts of its message and hint.
type wantedFinding struct {
	level                preflight.Level
	check, message, hint string
}

func (w wantedFinding) matches(f preflight.Finding) bool {
	return f.Level == w.level && f.Check == w.check && strings.Contains(f.Message, w.message) && strings.Contains(f.Hint, w.hint)
}

// TestCheckUnderstandsComposeSyntax has each element of the Compose syntax that matters, correct and with a fault.
func TestCheckUnderstandsComposeSyntax(t *testing.T) {
	runCheckCases(t, "compose-syntax", checkOwnStack)
}

// TestCheckOnStacksThatUsersReported has the stacks on which the check missed a fault or raised a false alarm.
func TestCheckOnStacksThatUsersReported(t *testing.T) {
	runCheckCases(t, "reported", checkOwnStack)
}

// TestCheckNamesEachFaultOfABrokenStack checks the shipped stack with one fault at a time. There may be more findings: they depend on
// the machine and its network.
func TestCheckNamesEachFaultOfABrokenStack(t *testing.T) {
	runCheckCases(t, "broken", checkShippedStack)
}

// runCheckCases runs the cases of testdata/check/DIR in parallel. Each must have the findings that its file names.
func runCheckCases(t *testing.T, dir string, run func(*testing.T, checkCase) preflight.Report) {
	files, err := filepath.Glob(filepath.Join("testdata", "check", dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			c := readCheckCase(t, file)
			report := run(t, c)
			for _, want := range c.findings {
				expectFinding(t, report, want)
			}
			if t.Failed() {
				logReport(t, report)
			}
		})
	}
}

// expectFinding fails the test unless the report has the finding.
func expectFinding(t *testing.T, report preflight.Report, want wantedFinding) {
	t.Helper()
	if !slices.ContainsFunc(report.Findings, want.matches) {
		t.Errorf("want a %s about %s: %s; hint: %s", want.level, want.check, want.message, want.hint)
	}
}

func readCheckCase(t *testing.T, file string) (c checkCase) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range archive.Files {
		lines := strings.FieldsFunc(string(section.Data), func(r rune) bool { return r == '\n' })
		switch section.Name {
		case "environment":
			c.environment = lines
		case "flags":
			c.flags = strings.Fields(string(section.Data))
		case "edit":
			c.edit = lines
		case "findings":
			c.findings = parseFindings(t, lines)
		default:
			c.files = append(c.files, section)
		}
	}
	if len(c.findings) == 0 {
		t.Fatalf("%s names no finding", file)
	}
	return c
}

func parseFindings(t *testing.T, lines []string) (all []wantedFinding) {
	t.Helper()
	for _, line := range lines {
		kind, text, ok := strings.Cut(line, ": ")
		level, check, hasCheck := strings.Cut(kind, " ")
		switch {
		case ok && hasCheck:
			all = append(all, wantedFinding{level: preflight.Level(level), check: check, message: text})
		case ok && kind == "hint" && len(all) > 0:
			all[len(all)-1].hint = text
		default:
			t.Fatalf("%q: want LEVEL CHECK: MESSAGE, or hint: HINT after it", line)
		}
	}
	return all
}

// checkOwnStack runs `edge check` in a directory with the files of the case. The case names every error and every warning.
func checkOwnStack(t *testing.T, c checkCase) preflight.Report {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "stack") // the name of the project
	writeFiles(t, dir, c.files)
	report := runCheck(t, dir, append(os.Environ(), c.environment...), c.flags)
	for _, f := range report.Findings {
		isWanted := slices.ContainsFunc(c.findings, func(w wantedFinding) bool { return w.matches(f) })
		if (f.Level == preflight.Error || f.Level == preflight.Warning) && !isWanted {
			t.Errorf("false alarm: %s %s: %s", f.Level, f.Check, f.Message)
		}
	}
	return report
}

// checkShippedStack runs `edge check` on the shipped stack before its first start. The compose files of the case are added to it.
func checkShippedStack(t *testing.T, c checkCase) preflight.Report {
	t.Helper()
	dir := t.TempDir()
	p := unstartedStack(t, dir)
	p.Env = append(p.Env, c.environment...)
	writeFiles(t, dir, c.files)
	for _, f := range c.files {
		p.Files = append(p.Files, filepath.Join(dir, f.Name))
	}
	flags := c.flags
	if c.edit != nil {
		writeFiles(t, dir, []txtar.File{{Name: "Caddyfile", Data: []byte(editShippedCaddyfile(t, c.edit))}})
		flags = append(flags, "--config", filepath.Join(dir, "Caddyfile"))
	}
	return p.check(t, flags...)
}

// editShippedCaddyfile returns the shipped Caddyfile after an edit: see checkCase.
func editShippedCaddyfile(t *testing.T, edit []string) string {
	t.Helper()
	shipped, err := os.ReadFile(filepath.Join(harness.Root(), "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(shipped)
	for pair := range slices.Chunk(edit, 2) {
		if len(pair) < 2 || pair[0][0] != '-' || pair[1][0] != '+' {
			t.Fatalf("edit %q: want a line -OLD, and after it a line +NEW", pair)
		}
		if !strings.Contains(text, pair[0][1:]) {
			t.Fatalf("the shipped Caddyfile has no %q", pair[0][1:])
		}
		text = strings.Replace(text, pair[0][1:], pair[1][1:], 1)
	}
	return text
}

// writeFiles writes files into a directory. As `edge init` does, it makes .env readable by the owner alone.
func writeFiles(t *testing.T, dir string, files []txtar.File) {
	t.Helper()
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if f.Name == ".env" {
			mode = 0o600
		}
		if err := os.WriteFile(path, f.Data, mode); err != nil {
			t.Fatal(err)
		}
	}
}
