package cmd

import (
	"fmt"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/volume"
)

// volumeCommand is not for users: `edge restore` runs it in a container that has a volume mounted.
func volumeCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "volume",
		Usage: "begin|extract|swap|undo|commit|state <directory>...",
		Short: "Replaces the content of directories; edge restore runs it in containers",
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Hidden = true
			cmd.RunE = runWithArgs(runVolume)
		},
	}
}

func runVolume(cmd *cobra.Command, args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("volume wants an operation and a directory")
	}
	for _, dir := range args[1:] {
		v := &volume.Volume{Dir: dir}
		var err error
		switch args[0] {
		case "begin":
			err = v.Begin()
		case "extract":
			err = v.Extract(cmd.InOrStdin())
		case "swap":
			err = v.Swap()
		case "undo":
			err = v.Undo()
		case "commit":
			err = v.Commit()
		case "state":
			var state volume.State
			if state, err = v.State(); err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\n", dir, state)
			}
		default:
			err = fmt.Errorf("volume has no operation %q", args[0])
		}
		if err != nil {
			return err
		}
	}
	return nil
}
