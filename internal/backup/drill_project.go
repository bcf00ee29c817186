package backup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// drillFile is the compose file of a drill.
const drillFile = "compose.json"

// drillDirectory is the beginning of the names of directories that have the compose file of a drill.
func drillDirectory(project string) string { return "edge-drill-" + project + "-" }

// removeLeftDrill removes what a drill has left that was killed: containers with the data, and a file with the secrets of .env. The caller has locked the project.
func (s *session) removeLeftDrill(ctx context.Context) {
	all, err := filepath.Glob(filepath.Join(os.TempDir(), drillDirectory(s.stack.Name)+"[0-9]*"))
	left := slices.DeleteFunc(all, func(name string) bool { // shop-2-1 is of the project shop-2
		number := strings.TrimPrefix(filepath.Base(name), drillDirectory(s.stack.Name))
		return strings.Trim(number, "0123456789") != ""
	})
	if err != nil || len(left) == 0 {
		return
	}
	s.progress.startStep("remove what a killed drill has left")
	project := compose.Project{Name: s.stack.Name + drillSuffix, Directory: left[0], Files: []string{filepath.Join(left[0], drillFile)}}
	err = checkIsDrill(ctx, s.docker, project.Name)
	if _, statErr := os.Stat(project.Files[0]); err == nil && statErr == nil { // else it was killed before it began
		err = removeProject(ctx, s.docker, project)
	}
	for _, dir := range left {
		if err == nil { // the next run tries it again
			err = os.RemoveAll(dir)
		}
	}
	if err != nil {
		s.progress.printLine("warning: what a killed drill has left could not be removed: %v", err)
	}
}

// checkIsDrill returns an error if a project of the name has containers that are not a drill's: a drill would remove their data.
func checkIsDrill(ctx context.Context, docker Docker, project string) error {
	out, _, err := docker.Run(ctx, "ps", "--all", "--filter", "label=com.docker.compose.project="+project, "--format", `{{.Names}}={{.Label "`+DrillLabel+`"}}`)
	if err != nil {
		return err
	}
	for _, line := range strings.Fields(out) {
		if name, isForeign := strings.CutSuffix(line, "="); isForeign {
			return hint.New(fmt.Errorf("the project %s is not of a drill: it has the container %s", project, name), "give that project another name")
		}
	}
	return nil
}

func removeProject(ctx context.Context, docker Docker, project compose.Project) error {
	_, _, err := docker.Run(ctx, project.Args("down", "--volumes", "--remove-orphans", "--timeout", "5")...)
	return err
}
