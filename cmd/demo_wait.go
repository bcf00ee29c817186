package cmd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/modules/edge"
)

// waitUntilReady waits until each site has its certificate and each service a ready endpoint, which takes a moment.
func waitUntilReady(ctx context.Context, httpsPort int) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, site := range []string{"accounting", "crm", "docs"} {
		dialer := tls.Dialer{Config: &tls.Config{ServerName: site + ".localhost", InsecureSkipVerify: true}} // only whether there is one
		for {
			conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(httpsPort)))
			if err == nil {
				_ = conn.Close()
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("%s.localhost has no certificate: %w", site, err)
			}
			pause(ctx)
		}
	}
	for !allReady() {
		if ctx.Err() != nil {
			return errors.New("the demo's backends are not ready")
		}
		pause(ctx)
	}
	return nil
}

func allReady() bool {
	services := edge.Snapshot()
	return len(services) > 0 && !slices.ContainsFunc(services, func(s registry.ServiceStatus) bool { return s.Ready == 0 })
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
}
