package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
)

// migrate plays bigcapital's one-shot migration: it is done once the database accepts connections.
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
