package deploy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/compose"
)

// TestALineThatIsMoreThanAListIsNotChanged: nothing is rolled out then, since the next docker compose up would put the old image back.
func TestALineThatIsMoreThanAListIsNotChanged(t *testing.T) {
	for _, line := range []string{
		"COMPOSE_FILE=compose.yaml # and more", `COMPOSE_FILE="compose.yaml:${MORE}"`, "COMPOSE_FILE=compose.yaml\nCOMPOSE_FILE=compose.yaml",
		"COMPOSE_FILE=compose.yaml\nexport COMPOSE_FILE=compose.yaml",
	} {
		h := newFakeHost(t)
		h.write(".env", line+"\n")
		h.push(webRepository+":2", 2)
		err := h.deploy("web", webRepository+":2").Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), filepath.Join(h.directory, ".env")+": ") {
			t.Errorf("%q: the error is %v", line, err)
		}
		h.expectRunning("web", imageID(1), "")
		if got := h.read(".env"); got != line+"\n" || len(h.rollouts) > 0 {
			t.Errorf("%q: .env has %q, rollouts: %v", line, got, h.rollouts)
		}
	}
}

func TestSetVariable(t *testing.T) {
	const line = "COMPOSE_FILE=a:b"
	for _, c := range []struct {
		text  string
		isSet bool
		want  string // "" is an error
	}{
		{"", false, line + "\n"},
		{"A=1", false, "A=1\n" + line + "\n"},
		{"#COMPOSE_FILE=x\n", false, "#COMPOSE_FILE=x\n" + line + "\n"},
		{"MY_COMPOSE_FILE=x\n", false, "MY_COMPOSE_FILE=x\n" + line + "\n"},
		{"A=1\nCOMPOSE_FILE=x\nB=2\n", true, "A=1\n" + line + "\nB=2\n"},
		{"COMPOSE_FILE='x:y z'\n", true, line + "\n"},
		{"COMPOSE_FILE=\"x:y\"", true, line},
		{"COMPOSE_FILE=\nA=1\n", false, ""},       // Compose takes the default files
		{"COMPOSE_FILE: x\n", true, ""},           // a form of YAML that Compose reads
		{"  export COMPOSE_FILE=x\n", true, ""},   // a shell may read the file, too
		{"COMPOSE_FILE=x\\ny\n", true, ""},        // an escape
		{"A=\"\nCOMPOSE_FILE=x\n\"\n", false, ""}, // a part of another value
	} {
		got, err := setVariable(c.text, c.isSet, line)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%q: got %q, %v; want %q", c.text, got, err, c.want)
		}
	}
}

// TestFilesOfAnotherDirectory: Compose takes the directory of the first file as the project's, and reads the .env files of both directories.
func TestFilesOfAnotherDirectory(t *testing.T) {
	h := newFakeHost(t)
	shop := filepath.Join(h.directory, "shop")
	if err := os.Mkdir(shop, 0o755); err != nil {
		t.Fatal(err)
	}
	h.write("shop/compose.yaml", "services: {}\n")
	h.write(".env", "COMPOSE_FILE=shop/compose.yaml\n")
	h.write("shop/.env", "A=1\n")
	t.Chdir(h.directory)
	c, err := findComposeFiles(t.Context(), h, compose.Project{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{filepath.Join(shop, "compose.yaml"), filepath.Join(shop, PinsFile)}; c.directory != shop || !slices.Equal(c.absolute(), want) {
		t.Errorf("the directory is %s, the files %v", c.directory, c.absolute())
	}
	if want := []string{filepath.Join(shop, ".env"), filepath.Join(h.directory, ".env")}; !slices.Equal(c.envFiles(), want) {
		t.Errorf("the env files are %v, want %v", c.envFiles(), want)
	}
	if _, err := c.persist(); err != nil {
		t.Fatal(err)
	}
	if got, want := h.read(".env"), "COMPOSE_FILE=shop/compose.yaml:shop/compose.deploy.yaml\n"; got != want {
		t.Errorf(".env has %q, want %q", got, want)
	}
}

// TestOtherEnvFilesAreNotChanged: which one has the variable is the operator's affair.
func TestOtherEnvFilesAreNotChanged(t *testing.T) {
	h := newFakeHost(t)
	h.write("my.env", "A=1\n")
	h.push(webRepository+":2", 2)
	d := h.deploy("web", webRepository+":2")
	d.Project.EnvFiles = []string{filepath.Join(h.directory, "my.env")}
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.read(".env") != "" || h.read("my.env") != "A=1\n" || !strings.Contains(h.out.String(), "set COMPOSE_FILE=compose.yaml:compose.deploy.yaml in the env file") {
		t.Errorf("printed %s", h.out.String())
	}
}

// TestAnOverrideThatComposeNoLongerReadsIsNamed.
func TestAnOverrideThatComposeNoLongerReadsIsNamed(t *testing.T) {
	h := newFakeHost(t)
	h.push(webRepository+":2", 2)
	h.mustDeploy("web", webRepository+":2")
	h.write("compose.override.yaml", "services: {}\n")
	h.mustDeploy("web", webRepository+":2")
	if !strings.Contains(h.out.String(), "warning: Compose does not read compose.override.yaml") {
		t.Errorf("printed %s", h.out.String())
	}
}

// TestOverwriteKeepsTheFile, whose owner may be another user.
func TestOverwriteKeepsTheFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(name, []byte("a long old text"), 0o640); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := overwrite(name, "new"); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(name)
	if err != nil || !os.SameFile(before, after) || after.Mode() != before.Mode() {
		t.Errorf("the file is another one: %v", err)
	}
	if text, err := os.ReadFile(name); err != nil || string(text) != "new" {
		t.Errorf("it has %q, %v", text, err)
	}
	if left, err := filepath.Glob(name + ".*"); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := overwrite(filepath.Join(t.TempDir(), "gone"), "new"); err == nil {
		t.Error("a file that does not exist was overwritten")
	}
}
