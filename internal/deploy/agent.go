package deploy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/hint"
)

// Allowance is what the holder of a key may do: deploy images of one repository to one service.
type Allowance struct {
	Service    string
	Repository string // as in the name of an image, without a tag and a digest
}

// serviceName matches the name of a Compose service (compose-spec, services).
var serviceName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]*$`)

// ParseAllowance reads SERVICE=REPOSITORY.
func ParseAllowance(text string) (Allowance, error) {
	service, repository, _ := strings.Cut(text, "=")
	of, tag, digest := splitImage(repository)
	if !serviceName.MatchString(service) || CheckImage(repository) != nil || of != repository || tag != "" || digest != "" {
		return Allowance{}, fmt.Errorf("%q: want SERVICE=REPOSITORY, such as web=registry.example.com/shop/web", text)
	}
	return Allowance{service, repository}, nil
}

// Command is what the holder of a key asks for.
type Command struct {
	Images []ServiceImage // to deploy; none to undo
	Undo   string         // the service whose last deployment is undone
}

// maxCommand is the longest command of a client, in bytes.
const maxCommand = 4096

// MayDeploy returns a function that reports whether a service may have an image: for [Deploy.MayUndo].
func MayDeploy(allowed []Allowance, needsDigest bool) func(service, image string) bool {
	return func(service, image string) bool {
		repository, _, digest := splitImage(image)
		return slices.Contains(allowed, Allowance{service, repository}) && (digest != "" || !needsDigest)
	}
}

// errNotAllowed does not say what would be: the client may not be the one that the key was made for.
var errNotAllowed = errors.New("this key may not do that")

// ParseCommand reads the command of an SSH client: "deploy SERVICE IMAGE [SERVICE IMAGE]…", or "undo SERVICE". No shell reads it, and nothing in it is an option. With
// needsDigest, each image has to have one.
func ParseCommand(text string, allowed []Allowance, needsDigest bool) (*Command, error) {
	if len(text) > maxCommand {
		return nil, errors.New("the command is too long")
	}
	words := strings.Fields(text)
	usage := hint.New(errors.New("no such command"), "deploy SERVICE IMAGE [SERVICE IMAGE]…, or: undo SERVICE")
	if len(words) < 2 {
		return nil, usage
	}
	isAllowed := func(service string) bool {
		return slices.ContainsFunc(allowed, func(a Allowance) bool { return a.Service == service })
	}
	switch args := words[1:]; {
	case words[0] == "undo" && len(args) == 1:
		if !isAllowed(args[0]) {
			return nil, errNotAllowed
		}
		return &Command{Undo: args[0]}, nil
	case words[0] == "deploy" && len(args)%2 == 0:
		c := new(Command)
		for pair := range slices.Chunk(args, 2) {
			service, image := pair[0], pair[1]
			if err := CheckImage(image); err != nil {
				return nil, err
			}
			repository, _, digest := splitImage(image)
			if !slices.Contains(allowed, Allowance{service, repository}) {
				return nil, errNotAllowed
			}
			if needsDigest && digest == "" {
				return nil, hint.New(fmt.Errorf("the image %s has no digest, which this key needs", image), "deploy SERVICE IMAGE@sha256:…")
			}
			if slices.ContainsFunc(c.Images, func(i ServiceImage) bool { return i.Service == service }) {
				return nil, fmt.Errorf("%s is there twice", service)
			}
			c.Images = append(c.Images, ServiceImage{service, image})
		}
		return c, nil
	}
	return nil, usage
}
