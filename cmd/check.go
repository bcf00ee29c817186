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
		Usage: "[--file compose.yaml] [--config <Caddyfile>] [--offline] [--json]",
		Short: "Looks, before a stack goes live, for what would keep it from working",
		Long: `
Prints a line for each thing that it looks at: ok, note, warning, or error, with a hint.
Exit status 1 if there is an error. It changes nothing. Run it on the host, where you run docker
compose; --file, --project-name, --project-directory, --env-file and --profile mean the
same as there.

  compose file   can be read, has the edge, and all variables that it uses are set
  secret         none is missing, empty, or one that everybody knows, such as 123123
  engine         answers
  file           what is mounted from this machine is there, and the edge may read it
  configuration  is valid, with the environment and the files that the compose file gives it
  route          each service is in the compose file, and shares a network with the edge; a
                 port that nothing names is a note, since expose and EXPOSE enforce nothing
  certificate    a site with a wildcard has a DNS challenge
  domain         each site's name resolves; to this machine, as far as that can be told
  port           no two services publish the same; what is published is free, or the stack's
                 own; no other service publishes what could come through the edge
  image          names a version, unless it is never pulled
  network        an external one exists
  volume         is there
  edge           its containers, if they run, are healthy, and are not started again and again
  container      the same of the other services
  guard          only a guard has Docker's socket, and only the edge reaches it; if the stack
                 runs, it lets nothing through but the list of containers
  storage        if the stack runs: certificates can be kept
  clock          is right, by that of the certificate authority

  --config   is the edge's configuration; default: the file that the compose file mounts.
  --offline  asks nobody beyond this machine, and does without a Docker Engine.
  --inside   asks a running edge, by its admin API, for guard, storage and clock as it sees
             them. edge check does that by itself, in the edge's container.
  --address  is the admin address for --inside, as for edge status.
  --json     prints {"findings": [{"check", "level", "message", "hint"}], "errors", "warnings"}.
`,
		CobraFunc: func(cmd *cobra.Command) {
			addProjectFlags(cmd)
			cmd.Flags().String("config", "", "The edge's configuration")
			cmd.Flags().Bool("offline", false, "Ask nobody beyond this machine")
			cmd.Flags().Bool("inside", false, "Check what can only be seen from where the edge runs")
			cmd.Flags().String("address", "", "The admin API's address")
			cmd.Flags().Bool("json", false, "Print JSON")
			cmd.RunE = runNoArgs(runCheck)
		},
	}
}

func runCheck(cmd *cobra.Command) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	find := checkStack
	if flags.Bool("inside") {
		find = checkFromEdge
	}
	all, err := find(cmd)
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
		err = fmt.Errorf("%d of %d findings are errors", report.Errors, len(all))
	}
	return err
}

// checkStack checks from an operator's shell.
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
	c.Config, c.Offline = flags.String("config"), flags.Bool("offline")
	c.Adapt, c.Validate = self.adapt, self.validate
	all := c.Run(cmd.Context())
	return all, os.RemoveAll(dir)
}

// executable is this program, run in an environment of its own, so that neither a configuration nor this machine sees the other.
type executable struct {
	program string
	dir     string // what it may write to
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

// validate implements [preflight.Check.Validate]. What would be kept beside the certificates is kept here, and thrown away.
func (s *executable) validate(ctx context.Context, config []byte, env []string) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(config, &all); err != nil {
		return err
	}
	delete(all, "storage") // of which only the running edge can tell whether it works
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

// discardLogs has a configuration write no log: loading it would make the files.
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
	for _, log := range logs {
		log["writer"] = json.RawMessage(`{"output": "discard"}`)
	}
	var err error
	if logging["logs"], err = json.Marshal(logs); err != nil {
		return err
	}
	delete(logging, "sink")
	config["logging"], err = json.Marshal(logging)
	return err
}

// run runs this program. Its error is the last thing that it said.
func (s *executable) run(ctx context.Context, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, s.program, args...)
	cmd.Env = append(env, "HOME="+s.dir, "XDG_DATA_HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.New(lastLogMessage(said.String()))
	}
	return out, nil
}

// lastLogMessage returns what Caddy said last: a line for people, or one of its log.
func lastLogMessage(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	last := lines[len(lines)-1]
	var entry struct{ Msg string }
	if json.Unmarshal([]byte(last), &entry) == nil && entry.Msg != "" {
		return entry.Msg
	}
	return strings.TrimPrefix(last, "Error: ")
}

// checkFromEdge asks the running edge for what is only to be seen from where it runs.
func checkFromEdge(cmd *cobra.Command) ([]preflight.Finding, error) {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	address := adminAddress(flags.String("address"))
	body, err := getAdmin(address, "/edge/checks")
	if err != nil {
		return nil, withHint(err, "is the edge running? its admin address can be given with --address")
	}
	var report preflight.Report
	if err := json.Unmarshal(body, &report); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", address, err)
	}
	return report.Findings, nil
}
