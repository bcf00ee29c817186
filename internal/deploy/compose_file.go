package deploy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
)

const (
	filesVariable     = "COMPOSE_FILE"
	separatorVariable = "COMPOSE_PATH_SEPARATOR"
)

// The files that Compose reads without --file and without COMPOSE_FILE: the first one of each list.
var (
	defaultFiles     = []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}
	defaultOverrides = []string{"compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"}
)

// composeFiles are the compose files of a project, and where their list comes from.
type composeFiles struct {
	files   []string
	source  filesSource
	envFile string // .env, or the one that --env-file names
}

type filesSource int

const (
	fromFlags       filesSource = iota // or from the labels of containers that were started with flags
	fromEnvironment                    // COMPOSE_FILE of this process
	fromEnvFile                        // COMPOSE_FILE in .env
	fromDefaults
)

// findComposeFiles finds the files as Compose does. The project has a directory.
func findComposeFiles(p compose.Project) (*composeFiles, error) {
	c := &composeFiles{envFile: filepath.Join(p.Directory, ".env")}
	if len(p.EnvFiles) > 0 {
		c.envFile = absoluteIn(p.Directory, p.EnvFiles[len(p.EnvFiles)-1])
	}
	if len(p.Files) > 0 {
		c.files = p.Files
		return c, nil
	}
	inFile, err := readEnvFile(c.envFile)
	if err != nil {
		return nil, err
	}
	value, source := os.Getenv(filesVariable), fromEnvironment
	if value == "" {
		value, source = inFile[filesVariable], fromEnvFile
	}
	if value != "" {
		c.files, c.source = strings.Split(value, separator(inFile)), source
		return c, nil
	}
	c.source = fromDefaults
	for _, names := range [][]string{defaultFiles, defaultOverrides} {
		for _, name := range names {
			if _, err := os.Stat(filepath.Join(p.Directory, name)); err == nil {
				c.files = append(c.files, name)
				break
			}
		}
		if len(c.files) == 0 {
			return nil, fmt.Errorf("%s has no compose file", p.Directory)
		}
	}
	return c, nil
}

// addPins returns the files with the one of the pins, as the last one.
func (c *composeFiles) addPins() []string {
	return append(slices.DeleteFunc(slices.Clone(c.files), isPinsFile), PinsFile)
}

func isPinsFile(name string) bool { return filepath.Base(name) == PinsFile }

// persist has later commands of Compose read the pins, too, by COMPOSE_FILE in .env. It returns what it has changed, or what the operator has to do; "" if nothing.
func (c *composeFiles) persist() (note string, err error) {
	if slices.ContainsFunc(c.files, isPinsFile) {
		return "", nil
	}
	switch c.source {
	case fromFlags:
		return "note: add --file " + PinsFile + " to the commands with which you start the project; without it, they would put the old images back", nil
	case fromEnvironment:
		return "note: add " + PinsFile + " to " + filesVariable + " in your environment; without it, docker compose up would put the old images back", nil
	}
	info, err := os.Stat(c.envFile)
	mode := fs.FileMode(0o600)
	var text []byte
	if err == nil {
		mode = info.Mode().Perm()
		text, err = os.ReadFile(c.envFile)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	inFile, err := readEnvFile(c.envFile)
	if err != nil {
		return "", err
	}
	line := filesVariable + "=" + strings.Join(c.addPins(), separator(inFile))
	if err := replaceFile(c.envFile, setLine(text, filesVariable, line), mode); err != nil {
		return "", err
	}
	c.files = c.addPins()
	return fmt.Sprintf("%s has %s now, so that docker compose up keeps the image", c.envFile, line), nil
}

// setLine replaces the last line of a file that sets a variable, or adds one.
func setLine(text []byte, variable, line string) []byte {
	lines := strings.SplitAfter(string(text), "\n")
	for i, l := range slices.Backward(lines) {
		if name, _, found := strings.Cut(l, "="); found && strings.TrimSpace(name) == variable {
			lines[i] = line + "\n"
			return []byte(strings.Join(lines, ""))
		}
	}
	if last := lines[len(lines)-1]; last != "" {
		lines = append(lines, "\n")
	}
	return []byte(strings.Join(append(lines, line, "\n"), ""))
}

// readEnvFile returns the two variables of Compose in a file that may not exist.
func readEnvFile(name string) (map[string]string, error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	variables := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		variable, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if variable = strings.TrimSpace(variable); found && (variable == filesVariable || variable == separatorVariable) {
			variables[variable] = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return variables, nil
}

// separator is what separates the files in COMPOSE_FILE.
func separator(inFile map[string]string) string {
	for _, s := range []string{os.Getenv(separatorVariable), inFile[separatorVariable]} {
		if s != "" {
			return s
		}
	}
	return string(os.PathListSeparator)
}

func absoluteIn(directory, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(directory, name)
}
