package backup

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// migratingDocker is the docker command of an Engine on which a migration runs.
type migratingDocker struct{}

// Run implements [Docker].
func (migratingDocker) Run(_ context.Context, args ...string) (stdout, stderr string, err error) {
	if args[0] == "ps" && !slices.Contains(args, "label=com.docker.compose.service=migration") {
		return "", "", nil
	}
	if args[0] == "ps" {
		return "1\n", "", nil
	}
	return `[{"Id": "1", "Name": "/crm-migration-1", "State": {"Running": true, "Status": "running"}}]`, "", nil
}

// Stream implements [Docker].
func (migratingDocker) Stream(context.Context, io.Reader, io.Writer, ...string) (string, error) {
	return "", errors.New("unexpected")
}

// TestABackupIsRefusedIfAMigrationDoesNotEnd: it would have half of its changes.
func TestABackupIsRefusedIfAMigrationDoesNotEnd(t *testing.T) {
	stack, err := compose.ParseStack(`{"name": "crm", "services": {"migration": {}, "server": {"depends_on": {"migration": {"condition": "service_completed_successfully"}}}}}`)
	if err != nil {
		t.Fatal(err)
	}
	b := &Backup{Docker: migratingDocker{}, MigrationTimeout: time.Nanosecond, session: session{docker: migratingDocker{}, stack: stack, progress: &progress{out: io.Discard}}}
	err = b.awaitMigrations(t.Context())
	if err == nil || !strings.Contains(err.Error(), "migration still runs after 1ns") || hint.Of(err) != "see its log: docker compose logs migration" {
		t.Errorf("got %v, with the hint %q", err, hint.Of(err))
	}
	b.MigrationTimeout = 0 // the default
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	if err := b.awaitMigrations(ctx); err == nil || err.Error() != "interrupted" {
		t.Errorf("got %v, want that it waits until it is interrupted", err)
	}
}
