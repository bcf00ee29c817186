package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/syslog"
	"os"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/deploy"
)

// sshCommand is the variable in which sshd gives a forced command what the client has asked for (sshd(8), authorized_keys, command=).
const sshCommand = "SSH_ORIGINAL_COMMAND"

func deployAgentCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "deploy-agent",
		Usage: "--allow <service>=<repository>... [--require-digest] [--name <name>] [--undo-on-errors 5m]",
		Short: "Lets the holder of an SSH key deploy some images, and nothing else",
		Long: `
For authorized_keys, as the command of the key that a CI job has:

  restrict,command="edge deploy-agent --project-directory /srv/shop --name ci
    --allow web=registry.example.com/shop/web" ssh-ed25519 AAAA…

(one line). The job can then run these, and nothing else:

  ssh deploy@host deploy web registry.example.com/shop/web:1.3
  ssh deploy@host undo web

The command is read from SSH_ORIGINAL_COMMAND by no shell. Each call is noted in the system's
log, in compose.deploy.yaml, and in the log of the edge.

  --allow           a service, and the repository whose images it may get. May be repeated.
  --require-digest  wants images with a digest, which nobody can replace in the registry.
  --name            says in the notes whose key it is.

Other flags, and the exit status, are those of edge deploy.
`,
		CobraFunc: func(cmd *cobra.Command) {
			addDeployFlags(cmd)
			cmd.Flags().StringArray("allow", nil, "SERVICE=REPOSITORY that may be deployed")
			cmd.Flags().Bool("require-digest", false, "Refuse images without a digest")
			cmd.Flags().String("name", "", "Whose key it is")
			cmd.RunE = withExitStatus(runNoArgs(runDeployAgent), deployExitStatus)
		},
	}
}

func runDeployAgent(cmd *cobra.Command) (err error) {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	texts, err := cmd.Flags().GetStringArray("allow")
	if err != nil {
		return err
	}
	var allowed []deploy.Allowance
	for _, text := range texts {
		a, err := deploy.ParseAllowance(text)
		if err != nil {
			return fmt.Errorf("--allow %w", err)
		}
		allowed = append(allowed, a)
	}
	if len(allowed) == 0 {
		return withHint(errors.New("nothing is allowed"), "--allow SERVICE=REPOSITORY")
	}
	text := os.Getenv(sshCommand)
	client, _, _ := strings.Cut(os.Getenv("SSH_CONNECTION"), " ")
	by := strings.TrimSuffix(cmp.Or(flags.String("name"), currentUser())+"@"+client, "@")
	defer func() { audit(by, text, err) }()
	command, err := deploy.ParseCommand(text, allowed, flags.Bool("require-digest"))
	if err != nil {
		return err
	}
	auditLine(by, text, "begins")
	return withDeploySignals(cmd, func(ctx context.Context, d *deploy.Deploy) error {
		d.By, d.Images, d.MayUndo = by, command.Images, deploy.MayDeploy(allowed, flags.Bool("require-digest"))
		if command.Undo != "" {
			return d.Undo(ctx, command.Undo)
		}
		return d.Run(ctx)
	})
}

// audit notes the end of a call in the system's log.
func audit(by, command string, err error) {
	result := "done"
	if err != nil {
		result = err.Error()
	}
	auditLine(by, command, result)
}

// maxAuditedCommand is longer than any command that is accepted.
const maxAuditedCommand = 4096

// auditLine writes to the system's log, if this machine has one: there is nowhere else to note it.
func auditLine(by, command, text string) {
	log, err := syslog.New(syslog.LOG_AUTHPRIV|syslog.LOG_NOTICE, "edge-deploy")
	if err != nil {
		fmt.Fprintln(os.Stderr, "edge: warning: the system's log does not have this call:", err)
		return
	}
	defer log.Close()
	_ = log.Notice(fmt.Sprintf("%s: %.*q: %s", by, maxAuditedCommand, strings.Join(strings.Fields(command), " "), text))
}
