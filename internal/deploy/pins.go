package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/theworklabs/edge/internal/hint"
)

// PinsFile is the name of the compose file with the deployed images, in the project's directory.
const PinsFile = "compose.deploy.yaml"

// maxDeployments is how many deployments of a service the file keeps.
const maxDeployments = 20

const pinsHeader = `# The images that "edge deploy" has rolled out, and its last deployments. It replaces this file: put other settings into another compose file.
# Compose reads it after the other files: see COMPOSE_FILE in .env.
`

// Pins are the images that services run, instead of those of the project's other compose files. They are themselves a compose file.
type Pins struct {
	Services    map[string]PinnedService `yaml:"services,omitempty"`
	Project     string                   `yaml:"x-edge-project,omitempty"`
	Deployments map[string][]Deployment  `yaml:"x-edge-deploy,omitempty"` // by service, the oldest first
	Others      map[string]yaml.Node     `yaml:",inline"`                 // what a later version has written
}

// PinnedService is the part of a service that a deployment changes.
type PinnedService struct {
	Image      string    `yaml:"image"`
	PullPolicy string    `yaml:"pull_policy,omitempty"` // missing: a pinned image cannot be another one
	Build      yaml.Node `yaml:"build,omitempty"`       // removes what the other files say: a build would get the name of the pinned image
}

// noBuild is the value with which Compose removes what other files say (compose-spec, "Reset value").
var noBuild = yaml.Node{Kind: yaml.ScalarNode, Tag: "!reset", Value: "null"}

// Deployment is one deployment of a service.
type Deployment struct {
	Image    string    `yaml:"image" json:"image"`                           // as it was asked for
	Pinned   string    `yaml:"pinned" json:"pinned"`                         // with what identifies its content; "" is the image of the other compose files
	Previous string    `yaml:"previous,omitempty" json:"previous,omitempty"` // what ran before; "" if nothing did
	Kept     string    `yaml:"kept,omitempty" json:"kept,omitempty"`         // the ID of the image that had its name on this machine, and kept it
	Time     time.Time `yaml:"time" json:"time"`
	By       literal   `yaml:"by,omitempty" json:"by,omitempty"` // who asked for it
	Result   Result    `yaml:"result" json:"result"`
	Error    literal   `yaml:"error,omitempty" json:"error,omitempty"`

	IsUndo bool `yaml:"undo,omitempty" json:"undo,omitempty"` // it puts an earlier image back
}

// UnmarshalYAML implements [yaml.Unmarshaler]. A later version may have written more, and must not keep this one from going back.
func (d *Deployment) UnmarshalYAML(node *yaml.Node) error {
	type plain Deployment
	return node.Decode((*plain)(d)) // an unknown field is no error here
}

// literal is a text in which Compose must not replace variables.
type literal string

// MarshalYAML implements [yaml.Marshaler].
func (t literal) MarshalYAML() (any, error) { return strings.ReplaceAll(string(t), "$", "$$"), nil }

// UnmarshalYAML implements [yaml.Unmarshaler].
func (t *literal) UnmarshalYAML(node *yaml.Node) error {
	var s string
	err := node.Decode(&s)
	*t = literal(strings.ReplaceAll(s, "$$", "$"))
	return err
}

// Result is how a deployment has ended.
type Result string

// The results. A deployment that was killed stays [Started].
const (
	Started  Result = "started"
	Deployed Result = "deployed"
	Failed   Result = "failed"   // the containers before it run on
	Bad      Result = "bad"      // it runs with more errors than the version before, or does not become ready, and was not undone
	Undone   Result = "undone"   // it was deployed, and a later one has put the image before it back
	Rollback Result = "rollback" // it has put an earlier image back
)

// ReadPins reads the file of a directory. Without a file, there are no pins.
func ReadPins(directory string) (*Pins, error) {
	name := filepath.Join(directory, PinsFile)
	p := &Pins{Services: make(map[string]PinnedService), Deployments: make(map[string][]Deployment)}
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	err = decoder.Decode(p)
	for key := range p.Others {
		if !strings.HasPrefix(key, "x-edge-") {
			err = errors.Join(err, fmt.Errorf("unknown field %s", key))
		}
	}
	if err != nil {
		return nil, hint.New(fmt.Errorf("read %s: %w", name, err), "it has more than edge deploy writes: move that to another compose file")
	}
	return p, nil
}

// write replaces the file of a directory. A crash leaves the old file, or the new one.
func (p *Pins) write(directory string) error {
	var content bytes.Buffer
	content.WriteString(pinsHeader)
	encoder := yaml.NewEncoder(&content)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(p), encoder.Close()); err != nil {
		return err
	}
	err := replaceFile(filepath.Join(directory, PinsFile), content.Bytes(), 0o644)
	if errors.Is(err, fs.ErrPermission) {
		return hint.New(err, "who deploys must be able to write to "+directory)
	}
	return err
}

// claim has the file belong to a project. It returns an error if it belongs to another one, whose services could have the same names.
func (p *Pins) claim(project string) error {
	if p.Project != "" && p.Project != project {
		return hint.New(fmt.Errorf("%s is of the project %s, not of %s", PinsFile, p.Project, project), "two projects that are deployed need a directory each")
	}
	p.Project = project
	return nil
}

// replaceFile writes a file, and then gives it the name. A link stays one, and the owner stays the same.
func replaceFile(name string, text []byte, mode fs.FileMode) (err error) {
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // it may not exist
		}
	}()
	info, statErr := os.Stat(name)
	if statErr != nil {
		info, statErr = os.Stat(filepath.Dir(name))
	}
	if statErr == nil && canKeepOwner(info) { // a deployment by root must not take the file away from its owner, or make one that the directory's owner cannot read
		if owner, ok := info.Sys().(*syscall.Stat_t); ok {
			err = f.Chown(int(owner.Uid), int(owner.Gid))
		}
	}
	if err == nil {
		_, err = f.Write(text)
	}
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// canKeepOwner reports whether this process may give a new file to the owner and the group of an old one.
func canKeepOwner(old fs.FileInfo) bool {
	owner, ok := old.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() == 0 {
		return true
	}
	groups, _ := os.Getgroups() // without, there is the one that this process has
	return int(owner.Uid) == os.Geteuid() && slices.Contains(append(groups, os.Getegid()), int(owner.Gid))
}

// pin sets the image of a service; "" is that of the other compose files.
func (p *Pins) pin(service, image string, hasBuild bool) {
	pinned := PinnedService{Image: image, PullPolicy: "missing", Build: p.Services[service].Build}
	if hasBuild {
		pinned.Build = noBuild
	}
	p.put(service, pinned)
}

// put sets what a service has in the file: nothing without an image.
func (p *Pins) put(service string, pinned PinnedService) {
	if pinned.Image == "" {
		delete(p.Services, service)
		return
	}
	p.Services[service] = pinned
}

// begin adds a deployment of a service, and pins its image. It returns those that the file no longer keeps.
func (p *Pins) begin(service string, d Deployment, hasBuild bool) (dropped []Deployment) {
	all := append(p.Deployments[service], d)
	n := max(0, len(all)-maxDeployments)
	p.Deployments[service] = slices.Clone(all[n:])
	p.pin(service, d.Pinned, hasBuild)
	return all[:n]
}

// last returns the last deployment of a service. It returns nil if there is none.
func (p *Pins) last(service string) *Deployment {
	all := p.Deployments[service]
	if len(all) == 0 {
		return nil
	}
	return &all[len(all)-1]
}

// undoable returns the deployment of a service whose undoing puts the last good image back: the last one that is in force, or that was interrupted. It returns nil if
// there is none.
func (p *Pins) undoable(service string) *Deployment {
	for i, d := range slices.Backward(p.Deployments[service]) {
		if d.isUndoable() {
			return &p.Deployments[service][i]
		}
	}
	return nil
}

// isUndoable reports whether the deployment is in force or was interrupted, and has changed the image.
func (d *Deployment) isUndoable() bool {
	return (d.Result == Deployed || d.Result == Bad || d.Result == Started && !d.IsUndo) && d.Previous != d.Pinned
}

// find returns the deployment of a service that began at a time. It returns nil if there is none.
func (p *Pins) find(service string, begin time.Time) *Deployment {
	for i, d := range p.Deployments[service] {
		if d.Time.Equal(begin) {
			return &p.Deployments[service][i]
		}
	}
	return nil
}
