package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// migrate stands in for bigcapital-migration: it ends when the database accepts connections.
func migrate() error {
	host := os.Getenv("DB_HOST")
	if host == "" {
		return errors.New("DB_HOST is not set")
	}
	store := net.JoinHostPort(host, "3306")
	awaitTCP(context.Background(), store)
	fmt.Println("migrated", store)
	return nil
}

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
