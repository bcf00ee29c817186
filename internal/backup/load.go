package backup

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"
)

// loadMariaDB creates an empty database in the staged directory, and loads the dump and the accounts. It is slower than the physical copy, but
// works with every version and architecture.
func (r *restoreRun) loadMariaDB(ctx context.Context, t *target) error {
	staged := "staged=" + quoteShell(path.Join(t.directory, stagedName)) + "\n"
	steps := []struct{ name, prepare, load string }{
		{t.service + "-dump.sql", `
chown mysql "$staged"
"$(command -v mariadb-install-db || command -v mysql_install_db)" --no-defaults --user=mysql --datadir="$staged" --skip-test-db --auth-root-authentication-method=normal >/tmp/install 2>&1 || { tail -n 5 /tmp/install >&2; exit 1; }
`, `client
client --execute SHUTDOWN
`},
		// The accounts replace that of root, so that another one has to load them. It drops itself. First it drops those of the new database, which have no password; and one of
		// them names this helper's host, with which no later backup could dump the accounts of a server that resolves no names.
		{t.service + "-accounts.sql", "", `
client --execute "CREATE USER edge_restore@localhost; GRANT ALL ON *.* TO edge_restore@localhost WITH GRANT OPTION; GRANT PROXY ON ''@'%' TO edge_restore@localhost WITH GRANT OPTION"
client --user=edge_restore --batch --skip-column-names --execute "SELECT CONCAT('DROP USER ', QUOTE(User), '@', QUOTE(Host), ';') FROM mysql.user WHERE User NOT IN ('edge_restore', 'mariadb.sys')" >/tmp/accounts
client --user=edge_restore </tmp/accounts
{ cat; echo 'DROP USER edge_restore@localhost;'; } | client --user=edge_restore
kill "$(cat /tmp/server.pid)"
`},
	}
	for _, step := range steps {
		p, found := t.partNamed(step.name)
		if !found {
			return fmt.Errorf("the set has no part %s", step.name)
		}
		err := r.pipe(ctx, p, func(ctx context.Context, stdin io.Reader) error {
			return r.helper.script(ctx, t, "mysql", stdin, staged+step.prepare+mariadbServer+`
start_server --no-defaults
`+step.load+`wait $server
`)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// loadPostgres creates an empty server in the staged directory, as the image does, and loads the roles and the dump of each database.
func (r *restoreRun) loadPostgres(ctx context.Context, t *target) error {
	variables := postgresLogin
	for _, variable := range t.container.Config.Env {
		if name, value, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "POSTGRES_") && !strings.Contains(name, "PASSWORD") {
			variables = name + "=" + quoteShell(value) + "\n" + variables
		}
	}
	server := "staged=" + quoteShell(path.Join(t.directory, stagedName)) + "\n" + variables + `
export PGHOST=/tmp
server() {
	as_user "$(command -v pg_ctl)" --pgdata "$staged" --wait --timeout 600 --log /tmp/log "$@" >/tmp/ctl 2>&1 || { grep -h 'FATAL\|ERROR' /tmp/log >&2; tail -n 2 /tmp/ctl >&2; exit 1; }
}
start() { server start --options "-c listen_addresses= -c unix_socket_directories=/tmp -c ssl=off $*"; }
`
	load := func(p Part, script string) error {
		return r.pipe(ctx, p, func(ctx context.Context, stdin io.Reader) error {
			return r.helper.script(ctx, t, "postgres", stdin, server+script)
		})
	}
	roles, found := t.partNamed(t.service + "-roles.sql")
	if !found {
		return fmt.Errorf("the set has no part with the roles of %s", t.service)
	}
	// The roles that exist already are errors, which are of no importance: the superuser, whose password comes with the next statement.
	if err := load(roles, `
chown postgres "$staged"
chmod 0700 "$staged"
as_user initdb --pgdata "$staged" --username "$PGUSER" --encoding UTF8 --auth-local trust --auth-host scram-sha-256 >/tmp/initdb 2>&1 || { tail -n 5 /tmp/initdb >&2; exit 1; }
echo 'host all all all scram-sha-256' >>"$staged/pg_hba.conf"
start
psql --no-psqlrc --quiet --dbname postgres >/dev/null 2>/tmp/roles
server stop --mode fast
`); err != nil {
		return err
	}
	for _, p := range t.parts {
		if p.Format != FormatPgDump {
			continue
		}
		// With --create it has its owner, its privileges and its settings. The server of this step writes nothing to the disk by itself: the swap
		// does, for all of it.
		if err := load(p, `
start -c fsync=off -c synchronous_commit=off -c full_page_writes=off
pg_restore --exit-on-error --clean --if-exists --create --dbname template1
server stop --mode fast
`); err != nil {
			return err
		}
	}
	return nil
}
