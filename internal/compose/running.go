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
	p.Directory, p.Files = cmp.Or(p.Directory, fields[0]), strings.Split(fields[1], ",")
	if len(p.EnvFiles) == 0 && len(fields) > 2 && fields[2] != "" {
		p.EnvFiles = strings.Split(fields[2], ",")
	}
	return p, true
}
