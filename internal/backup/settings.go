package backup

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
	"github.com/theworklabs/edge/internal/restic"
)

// settingsFile has the repository and its secrets. It is in the project's directory, beside .env.
const settingsFile = "backup.env"

// Settings say where backups are stored, and what opens the repository. They are the variables of backup.env; a variable of the
// environment takes precedence.
type Settings struct {
	Repository string // EDGE_BACKUP_REPOSITORY
	Password   string // EDGE_BACKUP_PASSWORD
	CopyTo     string // EDGE_BACKUP_COPY_TO: a second repository
	Notify     string // EDGE_BACKUP_NOTIFY: where failures are reported to, https://… or mailto:…
	Env        []string

	isLowPriority bool // see [restic.Repository]
}

// The variables of backup.env that restic does not know.
const (
	repositoryVariable = "EDGE_BACKUP_REPOSITORY"
	passwordVariable   = "EDGE_BACKUP_PASSWORD"
	copyVariable       = "EDGE_BACKUP_COPY_TO"
	notifyVariable     = "EDGE_BACKUP_NOTIFY"
)

// ReadSettings reads backup.env in the project's directory.
func ReadSettings(directory string) (*Settings, error) {
	name := filepath.Join(directory, settingsFile)
	variables, err := readEnvFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	value := func(variable string) string {
		if v, ok := os.LookupEnv(variable); ok {
			return v
		}
		return variables[variable]
	}
	s := &Settings{Repository: value(repositoryVariable), Password: value(passwordVariable), CopyTo: value(copyVariable), Notify: value(notifyVariable)}
	switch {
	case s.Repository == "":
		return nil, hint.New(fmt.Errorf("no repository is set up: %s has no %s", name, repositoryVariable), "edge backup init --repository …")
	case s.Password == "":
		return nil, hint.New(fmt.Errorf("%s has no %s", name, passwordVariable), "take it from a copy of the file, or use the recovery key")
	}
	for variable, text := range variables {
		if _, isSet := os.LookupEnv(variable); !isSet && !strings.HasPrefix(variable, "EDGE_BACKUP_") {
			s.Env = append(s.Env, variable+"="+text)
		}
	}
	slices.Sort(s.Env)
	return s, nil
}

// readEnvFile reads lines NAME=VALUE. It refuses a file that other users can read.
func readEnvFile(name string) (map[string]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, hint.New(fmt.Errorf("other users can read %s (mode %04o), which has secrets", name, info.Mode().Perm()), "chmod 600 "+name)
	}
	variables := make(map[string]string)
	lines := bufio.NewScanner(f)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		variable, value, found := strings.Cut(line, "=")
		if !found || strings.ContainsAny(variable, " \t") {
			return nil, fmt.Errorf("%s:%d: want NAME=VALUE", name, number)
		}
		variables[variable] = strings.Trim(value, `"'`)
	}
	return variables, lines.Err()
}

// write writes backup.env. It does not replace a file.
func (s *Settings) write(directory string) error {
	name := filepath.Join(directory, settingsFile)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return hint.New(fmt.Errorf("%s exists already", name), "edge backup uses it; to set up another repository, move it away")
	}
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("# Where `edge backup` stores the backups of this project, and the password of the repository. `edge backup init` has made it.\n")
	b.WriteString("# Keep it secret (mode 0600). The recovery key opens the repository, too, if this machine is lost.\n")
	fmt.Fprintf(&b, "%s=%s\n%s=%s\n", repositoryVariable, s.Repository, passwordVariable, s.Password)
	if s.CopyTo != "" {
		fmt.Fprintf(&b, "# Each set is copied to this repository, which has the same password.\n%s=%s\n", copyVariable, s.CopyTo)
	}
	if s.Notify != "" {
		fmt.Fprintf(&b, "# Where failures are reported to.\n%s=%s\n", notifyVariable, s.Notify)
	}
	for _, line := range s.Env {
		b.WriteString(line + "\n")
	}
	_, err = f.WriteString(b.String())
	return errors.Join(err, f.Sync(), f.Close())
}

// repository returns the repository at a location.
func (s *Settings) repository(program, location string) *restic.Repository {
	return &restic.Repository{Program: program, URL: location, Password: s.Password, Env: s.Env, IsLowPriority: s.isLowPriority}
}

// Options are the settings in the compose file, under x-edge-backup.
type Options struct {
	Keep          Retention     `json:"keep"`
	MaxAge        time.Duration `json:"max_age"`        // of the latest set, after which the backup is overdue
	DrillInterval time.Duration `json:"drill_interval"` // between two drills
	KeepLogs      time.Duration `json:"keep_logs"`      // how far back a restore to a given time can go
	MaxLogAge     time.Duration `json:"max_log_age"`    // after which the logs are overdue, if they are stored at all
	MaxRate       int64         `json:"max_rate"`       // bytes per second of a backup or drill; 0 is no limit
}

// Retention says how many sets of an application are kept: the latest ones, and the latest of each of the last days, weeks and months.
type Retention struct {
	Last    int `json:"last"`
	Daily   int `json:"daily"`
	Weekly  int `json:"weekly"`
	Monthly int `json:"monthly"`
}

// DefaultOptions are those of a compose file without x-edge-backup.
var DefaultOptions = Options{
	Keep:          Retention{Last: 3, Daily: 7, Weekly: 5, Monthly: 12},
	MaxAge:        26 * time.Hour,
	DrillInterval: 8 * 24 * time.Hour,
	KeepLogs:      3 * 24 * time.Hour,
	MaxLogAge:     5 * time.Minute,
	MaxRate:       10_000_000,
}

// ReadOptions reads x-edge-backup. isSet is false if the compose file does not have it.
func ReadOptions(stack *compose.Stack) (options Options, isSet bool, err error) {
	options = DefaultOptions
	if len(stack.Backup) == 0 || string(stack.Backup) == "null" {
		return options, false, nil
	}
	var file struct {
		Keep          *Retention `json:"keep"`
		MaxAge        string     `json:"max_age"`
		DrillInterval string     `json:"drill_interval"`
		KeepLogs      string     `json:"keep_logs"`
		MaxLogAge     string     `json:"max_log_age"`
		MaxRate       string     `json:"max_rate"`
	}
	decoder := json.NewDecoder(strings.NewReader(string(stack.Backup)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		return options, true, hint.New(fmt.Errorf("x-edge-backup: %w", err), "it has keep (last, daily, weekly, monthly), keep_logs, max_age, max_log_age, drill_interval and max_rate")
	}
	if file.Keep != nil {
		options.Keep = *file.Keep
	}
	if k := options.Keep; k.Last < 0 || k.Daily < 0 || k.Weekly < 0 || k.Monthly < 0 || k.Last+k.Daily+k.Weekly+k.Monthly == 0 {
		return options, true, hint.New(errors.New("x-edge-backup: keep keeps no set"), "keep: {daily: 7}")
	}
	for _, d := range []struct {
		name, text string
		value      *time.Duration
	}{
		{"max_age", file.MaxAge, &options.MaxAge},
		{"drill_interval", file.DrillInterval, &options.DrillInterval},
		{"keep_logs", file.KeepLogs, &options.KeepLogs},
		{"max_log_age", file.MaxLogAge, &options.MaxLogAge},
	} {
		if d.text == "" {
			continue
		}
		value, err := time.ParseDuration(d.text)
		if err != nil || value <= 0 {
			return options, true, hint.New(fmt.Errorf("x-edge-backup: %s: %q is not a duration", d.name, d.text), "such as 26h or 90m")
		}
		*d.value = value
	}
	if file.MaxRate != "" {
		if options.MaxRate, err = ParseRate("x-edge-backup: max_rate", file.MaxRate); err != nil {
			return options, true, err
		}
	}
	return options, true, nil
}

// unlimited is the rate without a limit.
const unlimited = "unlimited"

// ParseRate reads the value of an option: bytes per second, such as 10MB.
func ParseRate(option, text string) (int64, error) {
	if text == unlimited {
		return 0, nil
	}
	const least = 1 << 20 // a slower backup would take days, and be taken for one that hangs
	if n, err := humanize.ParseBytes(text); err == nil && n >= least && n <= math.MaxInt64 {
		return int64(n), nil
	}
	return 0, hint.New(fmt.Errorf("%s: %q is not a rate of at least 1MiB", option, text), "bytes per second, such as 10MB, or "+unlimited)
}
