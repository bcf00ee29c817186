package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// defaultComposeFiles are the names that Compose looks for, if no file is named. It reads those with override in their names, too.
var defaultComposeFiles = []string{
	"compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml",
	"compose.override.yaml", "compose.override.yml", "docker-compose.override.yaml", "docker-compose.override.yml",
}

// references are the files that compose files name, and that the output of `docker compose config` no longer shows: their content is part of it.
type references struct {
	files    []string // absolute paths: the compose files themselves, and those of include, extends and env_file
	warnings []string // what could not be followed
}

// findReferences reads compose files, and all that they name.
func findReferences(directory string, composeFiles []string) (*references, error) {
	r := new(references)
	for _, name := range composeFiles {
		if err := r.follow(directory, absoluteIn(directory, name)); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func absoluteIn(directory, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(directory, name)
}

// composeFile is what a compose file has of other files. Each of these entries has several forms.
type composeFile struct {
	Include  []fileEntry `yaml:"include"`
	Services map[string]struct {
		EnvFile fileEntry `yaml:"env_file"`
		Extends yaml.Node `yaml:"extends"`
	} `yaml:"services"`
}

// fileEntry is a path, a list of such entries, or an object with a path.
type fileEntry struct {
	paths    []string
	envFiles []string // of an object
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (e *fileEntry) UnmarshalYAML(node *yaml.Node) error {
	switch node.Kind {
	case yaml.ScalarNode:
		e.paths = append(e.paths, node.Value)
	case yaml.SequenceNode:
		for _, item := range node.Content {
			if err := e.UnmarshalYAML(item); err != nil {
				return err
			}
		}
	case yaml.MappingNode:
		var object struct {
			Path    *fileEntry `yaml:"path"`
			EnvFile *fileEntry `yaml:"env_file"`
		}
		if err := node.Decode(&object); err != nil {
			return err
		}
		if object.Path != nil {
			e.paths = append(e.paths, object.Path.paths...)
		}
		if object.EnvFile != nil {
			e.envFiles = append(e.envFiles, object.EnvFile.paths...)
		}
	}
	return nil
}

// follow adds a compose file, and what it names. Paths in it are relative to directory.
func (r *references) follow(directory, name string) error {
	if slices.Contains(r.files, name) {
		return nil
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // Compose has said so, if it needs the file
	}
	if err != nil {
		return err
	}
	r.files = append(r.files, name)
	var file composeFile
	if err := yaml.Unmarshal(text, &file); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	for _, include := range file.Include {
		for _, path := range r.local(directory, name, include.paths) {
			if err := r.follow(filepath.Dir(path), path); err != nil {
				return err
			}
			r.add(filepath.Join(filepath.Dir(path), ".env"))
		}
		r.add(r.local(directory, name, include.envFiles)...)
	}
	for _, service := range file.Services {
		r.add(r.local(directory, name, service.EnvFile.paths)...)
		var extends struct {
			File string `yaml:"file"`
		}
		if service.Extends.Kind == yaml.MappingNode && service.Extends.Decode(&extends) == nil && extends.File != "" {
			for _, path := range r.local(directory, name, []string{extends.File}) {
				if err := r.follow(filepath.Dir(path), path); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// local returns the absolute paths of those files that are on this machine, and whose names need no variable.
func (r *references) local(directory, of string, names []string) (paths []string) {
	for _, name := range names {
		if strings.Contains(name, "$") || strings.Contains(name, "://") || strings.HasPrefix(name, "oci:") || strings.HasPrefix(name, "git@") {
			r.warnings = append(r.warnings, fmt.Sprintf("%s, which %s names, is not stored: its name has a variable, or it is elsewhere", name, of))
			continue
		}
		paths = append(paths, absoluteIn(directory, name))
	}
	return paths
}

// add adds files that exist.
func (r *references) add(paths ...string) {
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && !slices.Contains(r.files, path) {
			r.files = append(r.files, path)
		}
	}
}
