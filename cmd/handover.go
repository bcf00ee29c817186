package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/modules/edge"
)

func handoverCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "handover",
		Usage: "[take|leave|stay|export|import] [--address <admin>]",
		Short: "Has a running edge take over from another one, or give way to it",
		Long: `
The steps of edge rollout edge. Both edges have the sockets of one gate (EDGE_GATE), and each
command is for one of them.

  edge handover          prints what the edge does with its sockets: starting, standby (another
                         edge serves), serving or leaving; and how many connections it has.
  edge handover take     has the successor serve, beside the other one.
  edge handover leave    has the predecessor accept no more connections, and let its clients go:
                         each response ends its connection, and WebSockets are closed in turn.
  edge handover stay     undoes leave.
  edge handover export   prints what the edge knows of sessions, ejections, drains and so on.
  edge handover import   reads that from its standard input.

  --address  is the admin address, as for edge status.
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Flags().String("address", "", "The admin API's address")
			cmd.RunE = runWithArgs(runHandover)
		},
	}
}

func runHandover(cmd *cobra.Command, args []string) error {
	admin := newAdminClient(caddycmd.Flags{FlagSet: cmd.Flags()}.String("address"))
	if len(args) > 1 {
		return withHint(fmt.Errorf("handover takes one argument, got %d", len(args)), "edge handover --help")
	}
	action := ""
	if len(args) == 1 {
		action = args[0]
	}
	answer, err := requestHandover(admin, action, cmd.InOrStdin())
	if err != nil || action == "import" {
		return err
	}
	_, err = cmd.OutOrStdout().Write(answer)
	return err
}

// requestHandover sends the request of one action, and returns the answer.
func requestHandover(admin adminClient, action string, in io.Reader) ([]byte, error) {
	switch action {
	case "":
		return admin.get("/edge/handover", nil)
	case "export":
		return admin.get("/edge/state", nil)
	case "import":
		state, err := io.ReadAll(in)
		if err != nil {
			return nil, fmt.Errorf("read the state: %w", err)
		}
		return admin.post("/edge/state", state, nil, nil)
	case edge.HandoverTake, edge.HandoverLeave, edge.HandoverStay:
		body, err := json.Marshal(edge.HandoverRequest{Action: action})
		if err != nil {
			return nil, err
		}
		return admin.post("/edge/handover", body, nil, map[int]string{
			http.StatusConflict: "an edge needs a gate (EDGE_GATE) to be replaced without a lost request: edge gate --help",
		})
	default:
		return nil, withHint(errors.New("unknown action "+action), "there are take, leave, stay, export and import: edge handover --help")
	}
}
