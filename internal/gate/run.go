package gate

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/theworklabs/edge/internal/hint"
)

// Help describes the commands `edge gate` and `edge-gate`.
const Help = `
Opens listening sockets, and gives them to an edge that asks (EDGE_GATE). The edge can then be
replaced: connections wait in the kernel until the next one serves. No byte of their traffic
passes through the gate, which accepts no connection and reads no packet.

  --listen  where sockets listen, separated by commas: [NETWORK/][HOST]:PORT
  --socket  the unix socket where an edge asks. Its directory must belong to the user that runs
            both, with mode 0700.
  --health  asks a running gate whether it works; exit status 1 if not.
`

// DefaultListen is the default of --listen.
const DefaultListen = ":80,:443,udp/:443"

// Run serves a gate until the context ends. listen has its addresses, separated by commas. It reports to out, in JSON.
func Run(ctx context.Context, path, listen string, out io.Writer) error {
	var addresses []Address
	for text := range strings.SplitSeq(listen, ",") {
		a, err := ParseAddress(strings.TrimSpace(text))
		if err != nil {
			return hint.New(err, "separate several addresses by commas: --listen "+DefaultListen)
		}
		addresses = append(addresses, a)
	}
	log := slog.New(slog.NewJSONHandler(out, nil))
	s, err := Open(ctx, path, addresses, log)
	if err != nil {
		return hint.New(err, fmt.Sprintf("the gate of this machine may run already; other addresses: --listen, another directory that is this user's alone: --socket %s", path))
	}
	log.Info("the gate is open", "listen", s.Addresses(), "socket", path)
	return s.Serve(ctx)
}
