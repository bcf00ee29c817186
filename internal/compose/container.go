package compose

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Container is the part of a container's `docker inspect` that Edge reads.
type Container struct {
	ID    string
	Name  string // without the leading slash of Docker's name
	Image string // the ID of its image
	State struct {
		Status    string
		ExitCode  int
		Error     string
		StartedAt time.Time
	}
	RestartCount int
	HostConfig   struct {
		RestartPolicy struct {
			Name              string
			MaximumRetryCount int
		}
	}
	Config struct {
		Image  string // its name in the compose file
		Env    []string
		Labels map[string]string
	}
	Mounts          []ContainerMount
	NetworkSettings struct {
		Networks map[string]struct{ IPAddress, GlobalIPv6Address string }
	}
}

// ContainerMount is a volume or a bind mount of a container.
type ContainerMount struct {
	Type        string // volume, bind or tmpfs
	Name        string // of the volume in Docker
	Source      string // the path on this machine
	Destination string
	RW          bool
}

// IsUp reports whether the container runs, or Docker will run it again.
func (c Container) IsUp() bool {
	return c.State.Status == "running" || c.State.Status == "restarting" || c.State.Status == "paused"
}

// Number returns the container's number within its service, or 0.
func (c Container) Number() int {
	n, _ := strconv.Atoi(c.Config.Labels["com.docker.compose.container-number"])
	return n
}

// Containers returns all containers of a service of a project, also those that do not run, by number.
func Containers(ctx context.Context, docker Docker, project, service string) ([]Container, error) {
	var err error
	for range 3 { // `docker inspect` fails if a container is removed after `docker ps` has listed it
		var ids, text string
		ids, _, err = docker.Run(ctx, "ps", "--all", "--quiet", "--no-trunc",
			"--filter", "label=com.docker.compose.project="+project,
			"--filter", "label=com.docker.compose.service="+service,
			"--filter", "label=com.docker.compose.oneoff=False")
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(ids) == "" {
			return nil, nil
		}
		text, _, err = docker.Run(ctx, append([]string{"inspect", "--type", "container"}, strings.Fields(ids)...)...)
		if err != nil {
			continue
		}
		var all []Container
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			return nil, fmt.Errorf("read the output of `docker inspect`: %w", err)
		}
		for i := range all {
			all[i].Name = strings.TrimPrefix(all[i].Name, "/")
		}
		slices.SortFunc(all, func(a, b Container) int { return cmp.Compare(a.Number(), b.Number()) })
		return all, nil
	}
	return nil, err
}
