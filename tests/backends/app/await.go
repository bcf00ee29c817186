package main

import (
	"context"
	"net"
	"time"
)

// awaitTCP returns once address accepts a connection or ctx is done.
func awaitTCP(ctx context.Context, address string) {
	dialer := net.Dialer{Timeout: time.Second}
	for ctx.Err() == nil {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}
