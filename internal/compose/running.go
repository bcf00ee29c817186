package compose

import (
	"cmp"
	"context"
	"strings"
)

// RunningProject returns a project with the directory and the files that its containers come from, as Compose has noted them in labels.
// What p has itself stays. ok is false if there is no container of the project, or none that tells.
func RunningProject(ctx context.Context, docker Docker, p Project) (running Project, ok bool) {
	const prefix = "com.docker.compose.project."
	format := `{{.Label "` + prefix + `working_dir"}}{{"\t"}}{{.Label "` + prefix + `config_files"}}{{"\t"}}{{.Label "` + prefix + `environment_file"}}`
	out, _, err := docker.Run(ctx, "ps", "--all", "--filter", "label=com.docker.compose.project="+p.Name, "--filter", "label=com.docker.compose.oneoff=False", "--format", format)
	line, _, _ := strings.Cut(out, "\n")
	fields := strings.Split(line, "\t")
	if err != nil || len(fields) < 2 || fields[1] == "" {
		return p, false
	}
	return p.fromLabels(fields[0], fields[1], strings.Join(fields[2:], "")), true
}

// ContainerProject returns a project with the directory and the files that a container comes from, as [RunningProject] does. ok is false if the container does not tell.
func ContainerProject(p Project, c Container) (running Project, ok bool) {
	const prefix = "com.docker.compose.project."
	files := c.Config.Labels[prefix+"config_files"]
	if files == "" {
		return p, false
	}
	return p.fromLabels(c.Config.Labels[prefix+"working_dir"], files, c.Config.Labels[prefix+"environment_file"]), true
}

func (p Project) fromLabels(directory, files, envFiles string) Project {
	p.Directory, p.Files = cmp.Or(p.Directory, directory), strings.Split(files, ",")
	if len(p.EnvFiles) == 0 && envFiles != "" {
		p.EnvFiles = strings.Split(envFiles, ",")
	}
	return p
}
