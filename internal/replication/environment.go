package replication

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/theworklabs/edge/internal/hint"
)

// swapped are the variables of the primary and of the replica, which a promotion exchanges.
var swapped = [][2]string{
	{HostVariable, ReplicaVariable},
	{"DATABASES_DOCKER", "DATABASES_REPLICA_DOCKER"},
	{"DATABASES_PROJECT", "DATABASES_REPLICA_PROJECT"},
}

// environmentFile returns the file with the variables of the project.
func (s *Stack) environmentFile() string {
	if n := len(s.Project.EnvFiles); n > 0 {
		return s.Project.EnvFiles[n-1]
	}
	return filepath.Join(s.directory, ".env")
}

// checkSwap fails if a change of the environment file would not have Compose use the other host as the primary.
func (s *Stack) checkSwap(ctx context.Context) error {
	file := s.environmentFile()
	text, err := os.ReadFile(file)
	if err != nil {
		return hint.New(err, "that file has "+HostVariable+" and "+ReplicaVariable+"; name the directory with --project-directory")
	}
	trial := filepath.Join(filepath.Dir(file), ".edge-promotion.env")
	if err := os.WriteFile(trial, setPrimary(text, s.config.Replica), 0o600); err != nil {
		return err
	}
	defer os.Remove(trial)
	other := *s
	other.Project.EnvFiles = append(slices.Clone(s.Project.EnvFiles[:max(0, len(s.Project.EnvFiles)-1)]), trial)
	if err := other.load(ctx); err != nil {
		return err
	}
	if other.config.Primary != s.config.Replica || other.config.Replica != s.config.Primary || other.config.Epoch != s.config.Epoch+1 {
		return hint.New(fmt.Errorf("%s, %s and %s do not come from %s, which a promotion changes", HostVariable, ReplicaVariable, EpochVariable, file),
			"set them in that file alone: not in the shell, and not in the compose files")
	}
	return nil
}

// setHosts makes a host the primary in the environment file, and reads the compose files again. It may be called again.
func (s *Stack) setHosts(ctx context.Context, primary string) error {
	file := s.environmentFile()
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := writeFile(file, setPrimary(text, primary), 0o600); err != nil {
		return err
	}
	if err := s.load(ctx); err != nil {
		return err
	}
	if s.config.Primary != primary {
		return hint.New(fmt.Errorf("%s is %s, want %s", HostVariable, s.config.Primary, primary), "set it in "+file+" alone, and call it again")
	}
	return nil
}

// setPrimary makes a host the primary in the text of an environment file, and counts that. It changes nothing if it is the primary already.
func setPrimary(text []byte, primary string) []byte {
	lines := strings.SplitAfter(string(text), "\n")
	if _, value := lastValue(lines, HostVariable); value == primary {
		return text
	}
	var added []string
	set := func(name, value string) {
		line := name + "=" + value + "\n"
		if i, _ := lastValue(lines, name); i >= 0 {
			lines[i] = line
		} else if value != "" {
			added = append(added, line)
		}
	}
	for _, names := range swapped {
		_, first := lastValue(lines, names[0])
		_, second := lastValue(lines, names[1])
		set(names[0], second)
		set(names[1], first)
	}
	_, epoch := lastValue(lines, EpochVariable)
	n, _ := strconv.Atoi(epoch) // "" is 0
	set(EpochVariable, strconv.Itoa(n+1))
	all := strings.Join(lines, "")
	if len(added) > 0 && all != "" && !strings.HasSuffix(all, "\n") {
		all += "\n"
	}
	return []byte(all + strings.Join(added, ""))
}

// lastValue returns the line of a variable that counts, and its value; -1 if there is none.
func lastValue(lines []string, name string) (at int, value string) {
	at = -1
	for i, line := range lines {
		if key, v, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == name {
			at, value = i, strings.TrimRight(v, "\r\n")
		}
	}
	return at, value
}
