package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/preflight"
)

func checkCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "check",
		Usage: "[--file compose.yaml] [--with <directory>...] [--config <Caddyfile>] [--offline] [--json]",
		Short: "Checks a stack for what would keep it from working, before it goes live",
		Long: `
Prints a line for each check: ok, note, warning, or error, with a hint. The exit status is
1 if there is an error. The command changes nothing. Run it on the host, where you run
docker compose; --file, --project-name, --project-directory, --env-file and --profile
mean the same as there.

  compose file   it can be read, has the edge, and all variables that it uses are set
  secret         none is missing, empty, or publicly known, such as 123123
  engine         the Docker Engine answers
  file           files that are mounted from this machine exist, and the edge can read them
  configuration  it is valid, with the environment and the files of the compose file
  route          each service is in the compose file, or in another project that the edge
                 serves, and shares a network with the edge; a port that nothing names is a
                 note, since expose and EXPOSE enforce nothing
  certificate    a site with a wildcard has a DNS challenge
  domain         the name of each site resolves to this machine, as far as can be checked
  port           no two services publish the same port; published ports are free, or in use
                 by the stack; no other service publishes what could come through the edge
  image          its tag is a version, unless the image is never pulled
  network        external networks exist
  volume         external volumes exist
  edge           if its containers run, they are healthy and not restarting
  container      the same for the other services
  guard          only a guard has Docker's socket, and only the edge reaches the guard; if
                 the stack runs, the guard allows nothing but the list of containers
  storage        if the stack runs, certificates can be stored
  clock          it agrees with the clock of the certificate authority

  --with     is the directory of another Compose project that the edge has routes to, if it
             does not run yet. May be repeated. Those that run are found by their labels.
  --config   is the edge's configuration; default: the file that the compose file mounts.
  --offline  makes no request beyond this machine, and needs no Docker Engine.
  --inside   asks a running edge, by its admin API, for its own checks of guard, storage and
             clock. edge check does that by itself, in the edge's container.
  --address  is the admin address for --inside, as for edge status.
  --json     prints {"findings": [{"check", "level", "message", "hint"}], "errors", "warnings"}.
`,
		CobraFunc: func(cmd *cobra.Command) {
			addProjectFlags(cmd)
			cmd.Flags().StringArray("with", nil, "The directory of another Compose project")
			cmd.Flags().String("config", "", "The edge's configuration")
			cmd.Flags().Bool("offline", false, "Make no request beyond this machine")
			cmd.Flags().Bool("inside", false, "Run only the checks of the running edge")
			cmd.Flags().String("address", "", "The admin API's address")
			cmd.Flags().Bool("json", false, "Print JSON")
			cmd.RunE = runNoArgs(runCheck)
		},
	}
}

func runCheck(cmd *cobra.Command) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	check := checkStack
	if flags.Bool("inside") {
		check = checkFromEdge
	}
	all, err := check(cmd)
	if err != nil {
		return err
	}
	report := preflight.NewReport(all)
	if flags.Bool("json") {
		err = json.NewEncoder(cmd.OutOrStdout()).Encode(report)
	} else {
		err = report.Print(cmd.OutOrStdout())
	}
	if err == nil && report.Errors > 0 {
		noun := "checks"
		if len(all) == 1 {
			noun = "check"
		}
		err = fmt.Errorf("%d of %d %s failed", report.Errors, len(all), noun)
	}
	return err
}

// checkStack returns the findings of the checks that an operator's shell can do.
func checkStack(cmd *cobra.Command) ([]preflight.Finding, error) {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	project, err := projectFromFlags(cmd)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "edge-check-")
	if err != nil {
		return nil, err
	}
	self, err := newExecutable(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	c := preflight.New(compose.CLI{}, project, flags.String("edge"))
	c.With, err = cmd.Flags().GetStringArray("with")
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	c.Config, c.Offline = flags.String("config"), flags.Bool("offline")
	c.Adapt, c.Validate = self.adapt, self.validate
	all := c.Run(cmd.Context())
	return all, os.RemoveAll(dir)
}

// executable runs this program in a separate environment, so that a configuration sees only its own variables, and writes only to dir.
type executable struct {
	program string
	dir     string // the only directory that it writes to
}

func newExecutable(dir string) (*executable, error) {
	program, err := os.Executable()
	return &executable{program, dir}, err
}

// adapt implements [preflight.Check.Adapt].
func (s *executable) adapt(ctx context.Context, file string, env []string) ([]byte, error) {
	if strings.HasSuffix(file, ".json") {
		return os.ReadFile(file)
	}
	return s.run(ctx, env, "adapt", "--adapter", "caddyfile", "--config", file)
}

// validate implements [preflight.Check.Validate]. The configuration keeps its data in s.dir, which the caller removes.
func (s *executable) validate(ctx context.Context, config []byte, env []string) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(config, &all); err != nil {
		return err
	}
	delete(all, "storage") // only the running edge can check it
	if err := discardLogs(all); err != nil {
		return err
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	file := filepath.Join(s.dir, "edge.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	_, err = s.run(ctx, env, "validate", "--config", file)
	return err
}

// discardLogs makes a configuration discard its logs, because loading it would create the log files. The default log goes to standard error: Caddy
// writes there what is wrong with the configuration.
func discardLogs(config map[string]json.RawMessage) error {
	if config["logging"] == nil {
		return nil
	}
	var logging map[string]json.RawMessage
	if err := json.Unmarshal(config["logging"], &logging); err != nil {
		return fmt.Errorf("logging: %w", err)
	}
	var logs map[string]map[string]json.RawMessage
	if logging["logs"] != nil {
		if err := json.Unmarshal(logging["logs"], &logs); err != nil {
			return fmt.Errorf("logging: %w", err)
		}
	}
	for name, log := range logs {
		log["writer"] = json.RawMessage(`{"output": "discard"}`)
		if name == "default" {
			log["writer"] = json.RawMessage(`{"output": "stderr"}`)
		}
	}
	var err error
	if logging["logs"], err = json.Marshal(logs); err != nil {
		return err
	}
	delete(logging, "sink")
	config["logging"], err = json.Marshal(logging)
	return err
}

// run runs this program with arguments, and returns its output. Its error is the last message that the program logged.
func (s *executable) run(ctx context.Context, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, s.program, args...)
	cmd.Env = append(env, "HOME="+s.dir, "XDG_DATA_HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.New(lastLogMessage(stderr.String()))
	}
	return out, nil
}

// lastLogMessage returns the last message that Caddy wrote to its standard error: plain text, or an entry of its log.
func lastLogMessage(stderr string) string {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	last := lines[len(lines)-1]
	var entry struct{ Msg string }
	if json.Unmarshal([]byte(last), &entry) == nil && entry.Msg != "" {
		return entry.Msg
	}
	return strings.TrimPrefix(last, "Error: ")
}

// checkFromEdge returns the findings of the checks that only the running edge can do.
func checkFromEdge(cmd *cobra.Command) ([]preflight.Finding, error) {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	var report preflight.Report
	_, err := newAdminClient(flags.String("address")).get("/edge/checks", &report)
	return report.Findings, err
}
