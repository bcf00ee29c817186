package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

const (
	filesVariable     = "COMPOSE_FILE"
	separatorVariable = "COMPOSE_PATH_SEPARATOR"
	envFilesVariable  = "COMPOSE_ENV_FILES"
	noEnvFileVariable = "COMPOSE_DISABLE_ENV_FILE"
)

// The files that Compose reads without --file and without COMPOSE_FILE: the first one of each list.
var (
	defaultFiles     = []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}
	defaultOverrides = []string{"compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"}
)

// composeFiles are the compose files of a project, and where their list comes from.
type composeFiles struct {
	files     []string // as they are listed: relative to workingDir
	source    filesSource
	separator string
	// workingDir is where Compose looks for .env and, without COMPOSE_FILE, for the compose file. directory is that of the project.
	workingDir, directory string
	hasEnvFiles           bool // .env is not read, because others are named
}

type filesSource int

const (
	fromFlags       filesSource = iota // or from the labels of containers that were started with flags
	fromEnvironment                    // COMPOSE_FILE of this process
	fromEnvFile                        // COMPOSE_FILE in .env
	fromDefaults
)

// findComposeFiles finds the files as Compose does, whom it asks for COMPOSE_FILE.
func findComposeFiles(ctx context.Context, docker compose.Docker, p compose.Project) (*composeFiles, error) {
	c := &composeFiles{separator: string(os.PathListSeparator), hasEnvFiles: len(p.EnvFiles) > 0 || os.Getenv(envFilesVariable) != "" || os.Getenv(noEnvFileVariable) != ""}
	var err error
	if c.workingDir, err = filepath.Abs(p.Directory); err != nil {
		return nil, err
	}
	if len(p.Files) > 0 {
		c.files = slices.Clone(p.Files)
		for i, name := range c.files { // flags are relative to this process's directory
			if c.files[i], err = filepath.Abs(name); err != nil {
				return nil, err
			}
		}
		if p.Directory == "" {
			c.workingDir = filepath.Dir(c.files[0])
		}
	} else if err := c.findWithoutFlags(ctx, docker, p); err != nil {
		return nil, err
	}
	c.directory = c.workingDir
	if p.Directory == "" { // then Compose takes that of the first file
		c.directory = filepath.Dir(absoluteIn(c.workingDir, c.files[0]))
	}
	return c, nil
}

func (c *composeFiles) findWithoutFlags(ctx context.Context, docker compose.Docker, p compose.Project) error {
	environment, err := readEnvironment(ctx, docker, p, c.workingDir)
	if err != nil {
		return err
	}
	if s := environment[separatorVariable]; s != "" {
		c.separator = s
	}
	if value := environment[filesVariable]; value != "" {
		c.files, c.source = strings.Split(value, c.separator), fromEnvFile
		if os.Getenv(filesVariable) != "" {
			c.source = fromEnvironment
		}
		return nil
	}
	c.files, c.source = findDefaultFiles(c.workingDir), fromDefaults
	if len(c.files) == 0 {
		return hint.New(fmt.Errorf("%s has no compose file", c.workingDir), "run it where compose.yaml is, or name the file with --file")
	}
	return nil
}

// findDefaultFiles returns the files of a directory that Compose reads by default: a compose file and, if there is one, its override. It returns nil without a compose file.
func findDefaultFiles(directory string) (files []string) {
	for _, names := range [][]string{defaultFiles, defaultOverrides} {
		for _, name := range names {
			if _, err := os.Stat(filepath.Join(directory, name)); err == nil {
				files = append(files, name)
				break
			}
		}
		if len(files) == 0 {
			return nil
		}
	}
	return files
}

// readEnvironment returns the two variables that select files, of this process or of the project's .env, whose syntax is Compose's affair. Compose reads a project for that,
// but COMPOSE_FILE may be relative to a directory that is not this process's one, and so it gets an empty one.
func readEnvironment(ctx context.Context, docker compose.Docker, p compose.Project, workingDir string) (map[string]string, error) {
	empty, err := os.CreateTemp("", "edge-deploy-*.yaml")
	if err != nil {
		return nil, err
	}
	defer os.Remove(empty.Name())
	_, err = empty.WriteString("services: {edge-deploy: {image: scratch}}\n")
	if err := errors.Join(err, empty.Close()); err != nil {
		return nil, err
	}
	query := compose.Project{Name: "edge-deploy", Directory: workingDir, Files: []string{empty.Name()}, EnvFiles: p.EnvFiles}
	out, _, err := docker.Run(ctx, query.Args("config", "--environment")...)
	if err != nil {
		return nil, hint.New(err, "correct .env; edge deploy needs Docker Compose 2.24.4 or newer")
	}
	variables := make(map[string]string)
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if name == filesVariable || name == separatorVariable {
			variables[name] = value
		}
	}
	return variables, nil
}

// withPins returns the files with the one of the pins, as the last one, and in the form in which they are listed.
func (c *composeFiles) withPins() []string {
	name := PinsFile
	if relative, err := filepath.Rel(c.workingDir, c.directory); err == nil && relative != "." {
		name = filepath.Join(relative, PinsFile)
	}
	return append(slices.DeleteFunc(slices.Clone(c.files), isPinsFile), name)
}

// absolute returns the paths of the files with that of the pins, as the last one.
func (c *composeFiles) absolute() (names []string) {
	for _, name := range slices.DeleteFunc(slices.Clone(c.files), isPinsFile) {
		names = append(names, absoluteIn(c.workingDir, name))
	}
	return append(names, filepath.Join(c.directory, PinsFile))
}

// envFiles returns the names of the .env files if there is one outside of the project's directory, as where COMPOSE_FILE names files of another one. The last one counts.
func (c *composeFiles) envFiles() (names []string) {
	if c.hasEnvFiles || c.workingDir == c.directory {
		return nil
	}
	for _, directory := range []string{c.directory, c.workingDir} {
		name := filepath.Join(directory, ".env")
		if _, err := os.Stat(name); err == nil {
			names = append(names, name)
		}
	}
	return names
}

func isPinsFile(name string) bool { return filepath.Base(name) == PinsFile }

// unreadOverride returns the name of an override in the project's directory that Compose would read without COMPOSE_FILE, and does not read with it; "" if there is none.
func (c *composeFiles) unreadOverride() string {
	if c.source != fromEnvFile && c.source != fromEnvironment {
		return ""
	}
	files := findDefaultFiles(c.workingDir)
	if len(files) < 2 || slices.ContainsFunc(c.files, func(name string) bool { return filepath.Base(name) == files[1] }) {
		return ""
	}
	return files[1]
}

// persist has later commands of Compose read the pins, too, by COMPOSE_FILE in .env. It returns what it has changed, or what the operator has to do; "" if nothing.
func (c *composeFiles) persist() (note string, err error) {
	if slices.ContainsFunc(c.files, isPinsFile) {
		return "", nil
	}
	line := filesVariable + "=" + strings.Join(c.withPins(), c.separator)
	switch {
	case c.source == fromFlags:
		return "note: add --file " + PinsFile + " to the commands with which you start the project; without it, they would put the old images back", nil
	case c.source == fromEnvironment:
		return "note: set " + line + " in your environment; without it, docker compose up would put the old images back", nil
	case c.hasEnvFiles:
		return "note: set " + line + " in the env file that you name; without it, docker compose up would put the old images back", nil
	}
	envFile := filepath.Join(c.workingDir, ".env")
	text, err := os.ReadFile(envFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	changed, err := setVariable(string(text), c.source == fromEnvFile, line)
	if err != nil {
		return "", hint.New(fmt.Errorf("%s: %w", envFile, err), "set "+line+" there yourself, as a plain line, and deploy again")
	}
	if err := rewrite(envFile, changed); err != nil {
		return "", hint.New(err, "set "+line+" in "+envFile+", and deploy again")
	}
	c.files = c.withPins()
	return fmt.Sprintf("%s has %s now, so that docker compose up keeps the image", envFile, line), nil
}

var (
	// setsFiles matches lines that may set COMPOSE_FILE, in any of the forms that Compose reads.
	setsFiles = regexp.MustCompile(`(?m)^[ \t]*(?:export[ \t]+)?` + filesVariable + `[ \t]*[=:].*$`)
	// plainLine matches such a line without anything that Compose would interpret.
	plainLine = regexp.MustCompile("^" + filesVariable + `=(?:[^\s"'$#\\]+|"[^"$#\\]*"|'[^'$#\\]*')\s*$`)
)

// setVariable replaces the line that sets COMPOSE_FILE or, if there is none, adds one. It returns an error rather than to change a line that means more than it says.
func setVariable(text string, isSet bool, line string) (string, error) {
	found := setsFiles.FindAllStringIndex(text, -1)
	switch {
	case len(found) == 0 && !isSet:
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		return text + line + "\n", nil
	case len(found) != 1 || !isSet:
		return "", fmt.Errorf("it is not clear which line sets %s", filesVariable)
	}
	begin, end := found[0][0], found[0][1]
	if old := text[begin:end]; !plainLine.MatchString(old) {
		return "", fmt.Errorf("the line %s is more than a list of files", strings.TrimSpace(old))
	}
	return text[:begin] + line + text[end:], nil
}

// rewrite replaces the content of .env. If this user may not give a new file to the owner of the old one, it writes into the old one.
func rewrite(name, text string) error {
	mode := fs.FileMode(0o600)
	info, err := os.Stat(name)
	if err == nil {
		mode = info.Mode().Perm()
		if !canKeepOwner(info) {
			return overwrite(name, text)
		}
	}
	return replaceFile(name, []byte(text), mode)
}

// overwrite writes into a file that exists. A crash may leave a part of the text, and so a copy of the old one is left until it is done.
func overwrite(name, text string) error {
	old, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	backup := name + ".edge-deploy"
	if _, err := os.Lstat(backup); err == nil {
		return fmt.Errorf("%s was left by a crash: compare it with %s, and remove it", backup, name)
	}
	if err := replaceFile(backup, old, 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return errors.Join(err, os.Remove(backup))
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%w; its content is in %s", err, backup)
	}
	return os.Remove(backup)
}

func absoluteIn(directory, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(directory, name)
}
