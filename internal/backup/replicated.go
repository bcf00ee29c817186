package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/hint"
)

// refuseReplicated fails if a database has a replica that is connected, or is one: a replica cannot follow a restore, although it may seem to. A server that does not respond may be
// restored.
func (r *restoreRun) refuseReplicated(ctx context.Context, t *target) error {
	if r.isDrill || t.kind != MariaDB && t.kind != Postgres || t.container.State.Status != "running" {
		return nil
	}
	script := mariadbLogin + `
run() { ` + mariadbClient + ` --batch --skip-column-names --execute "$1"; }
replica=$(run 'SHOW SLAVE STATUS')
clients=$(run "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'RPL_SEMI_SYNC_MASTER_CLIENTS'")
if [ -n "$replica" ]; then
	echo replica
else
	case $clients in '' | 0) ;; *) echo primary ;; esac
fi`
	if t.kind == Postgres {
		script = postgresLogin + psql + ` --command "SELECT CASE WHEN pg_is_in_recovery() THEN 'replica' WHEN EXISTS (SELECT FROM pg_stat_replication WHERE application_name = 'replica') THEN 'primary' END"`
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	role := ""
	for attempt := range 5 { // MariaDB notices only after some seconds that its replica was stopped
		var out strings.Builder
		if _, err := (&container{t.container, r.Docker, t.service}).run(ctx, nil, &out, script); err != nil {
			r.progress.printLine("note: %s does not say whether it has a replica, which could not follow a restore", t.service)
			return nil
		}
		if role = strings.TrimSpace(out.String()); role != "primary" || attempt == 4 {
			break
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	const next = "on the first machine, edge replica forget stops the replica; restore; then docker compose up --detach replication, and edge replica rejoin"
	switch role {
	case "primary":
		return hint.New(fmt.Errorf("%s has a replica, which cannot follow a restore", t.service), next)
	case "replica":
		return hint.New(errors.New(t.service+" is a replica"), "restore on the machine with the primary, which edge replica status names on the first machine: docs/replication.md")
	}
	return nil
}
