package lab

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

var (
	toolsOnce sync.Once
	toolsErr  error
	toolsDir  string
)

// toolPath returns the path of one of the two programs, which it has made build where that is needed.
func toolPath(name string) (string, error) {
	toolsOnce.Do(func() {
		gomod, err := exec.Command("go", "env", "GOMOD").Output()
		if err != nil {
			toolsErr = fmt.Errorf("find the repository: %w", err)
			return
		}
		root := filepath.Dir(strings.TrimSpace(string(gomod)))
		toolsDir = filepath.Join(root, ".tools")
		out, err := exec.Command("make", "--silent", "-C", root, ".tools/pebble", ".tools/pebble-challtestsrv").CombinedOutput()
		if err != nil {
			toolsErr = fmt.Errorf("build pebble: %w\n%s", err, out)
		}
	})
	return filepath.Join(toolsDir, name), toolsErr
}
