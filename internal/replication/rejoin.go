package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// Rejoin makes the databases on the replica's host a copy of the primary's, which follows it. What is there is replaced. It may be interrupted at any time,
// and called again.
type Rejoin struct {
	Stack
	Overwrite bool          // replace also what is newer than the primary's data
	Timeout   time.Duration // how long the replica may take until it has everything
}

// dataDirectories are the roots of the volumes with the databases.
var dataDirectories = map[string]string{"mariadb": "/var/lib/mysql", "postgres": "/var/lib/postgresql/data"}

// Run makes the replica.
func (r *Rejoin) Run(ctx context.Context) error {
	if err := r.load(ctx); err != nil {
		return err
	}
	unlock, err := r.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if journal, err := r.readJournal(); err != nil {
		return err
	} else if journal != nil {
		return hint.New(fmt.Errorf("the promotion of %s is not finished", journal.To), "edge replica promote finishes it")
	}
	if err := r.checkState(ctx); err != nil {
		return err
	}
	primary, replica := r.host(r.config.Primary), r.host(r.config.Replica)
	if err := errors.Join(primary.responds(ctx), replica.responds(ctx)); err != nil {
		return hint.New(err, "DATABASES_DOCKER and DATABASES_REPLICA_DOCKER name the Engines, such as ssh://root@10.0.0.2; root of this machine needs a key there")
	}
	all, closeAll, err := openServers(r.config)
	if err != nil {
		return err
	}
	defer closeAll()
	for _, s := range all {
		if err := r.checkPrimary(ctx, s); err != nil {
			return err
		}
	}
	if err := r.emptyQueues(ctx, all, replica); err != nil { // first: a call that ends early must not leave a replica with old ones
		return err
	}
	for _, s := range all {
		if r.isFollowing(ctx, s) {
			fmt.Fprintf(r.Out, "%s: %s is a replica already\n", s.Name, replica.address)
			var volume func(operation string) (string, error)
			if _, volume, err = replica.volume(ctx, s.Database); err == nil {
				err = finishCopy(volume)
			}
		} else {
			err = r.copyDatabase(ctx, s, primary, replica)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	if err := replica.start(ctx, portService, "peer"); err != nil {
		return err
	}
	for _, s := range all {
		if err := r.step(s.Name+": commits wait for "+replica.address+", which has everything", func() error { return r.await(ctx, s.Name) }); err != nil {
			return err
		}
	}
	return nil
}

// checkState fails unless the watcher, too, says which host is the primary: what is on the other one is replaced.
func (r *Rejoin) checkState(ctx context.Context) error {
	const next = "docker compose up --detach replication; docker compose logs replication says why it does not run"
	state, err := r.readState(ctx)
	if err != nil {
		return err
	}
	if state == nil || state.IsStale(time.Now()) {
		return hint.New(errors.New("the service replication does not run"), next)
	}
	if state.Primary != r.config.Primary || state.Replica != r.config.Replica {
		return hint.New(fmt.Errorf("for the service replication, the primary is %s and the replica %s; in .env, it is %s and %s", state.Primary, state.Replica, r.config.Primary, r.config.Replica), next)
	}
	return nil
}

// checkPrimary fails unless the primary is one from which a copy can be made.
func (r *Rejoin) checkPrimary(ctx context.Context, s servers) error {
	if _, err := s.primaryState(ctx); err != nil {
		return hint.New(fmt.Errorf("%s on %s: %w", s.Name, r.config.Primary, short(err)), "the primary must run; if its machine is lost, edge replica promote comes first")
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if m, ok := s.primary.(*mariadb); ok {
		if err := m.checkVersion(ctx); err != nil {
			return hint.New(err, "update the images of the databases, and their containers, first")
		}
	}
	// What is on the replica's host is replaced.
	tables, err := s.primary.Tables(ctx)
	if err != nil {
		return err
	}
	others, othersErr := s.replica.Tables(ctx)
	if tables == 0 && (othersErr != nil || others > 0) {
		return hint.New(fmt.Errorf("%s: the primary, %s, has no tables, and %s has some, or does not respond", s.Name, r.config.Primary, r.config.Replica),
			"are "+HostVariable+" and "+ReplicaVariable+" exchanged?")
	}
	if r.Overwrite || othersErr != nil || others == 0 || s.Name != "postgres" { // MariaDB's old primary may have commits that nobody acknowledged
		return nil
	}
	primary, err := s.primaryState(ctx)
	if err != nil {
		return err
	}
	if replica, err := s.replicaState(ctx); err == nil && !replica.IsReplica && replica.Generation > primary.Generation {
		return hint.New(fmt.Errorf("%s: %s was promoted after %s was the primary, so that its data is newer", s.Name, r.config.Replica, r.config.Primary),
			"is this an older .env? Use the one that edge replica promote has written. If the newer data may be lost: --overwrite")
	}
	return nil
}

// isFollowing reports whether the replica receives from the primary.
func (r *Rejoin) isFollowing(ctx context.Context, s servers) bool {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	replica, replicaErr := s.replica.Replica(ctx)
	primary, primaryErr := s.primary.Primary(ctx)
	return replicaErr == nil && primaryErr == nil && replica.IsReplica && replica.IsConnected && replica.Problem == "" && primary.IsConnected
}

// copyDatabase puts a copy of the primary's data in the place of the replica's, which is kept until the copy is complete.
func (r *Rejoin) copyDatabase(ctx context.Context, s servers, primary, replica *host) error {
	if r.config.Policy == Stop { // nobody would have it go on alone
		if err := r.awaitAlone(ctx, s); err != nil {
			return err
		}
	}
	c, volume, err := replica.volume(ctx, s.Database)
	if err != nil {
		return err
	}
	replica.removeHelper(ctx, s.Database) // of a call that was interrupted
	if err := r.step(s.Name+": stopped on "+replica.address, func() error { return replica.stop(ctx, s.Service) }); err != nil {
		return err
	}
	if err := r.awaitAlone(ctx, s); err != nil {
		return err
	}
	if err := finishEarlier(volume); err != nil {
		return err
	}
	if _, err := volume("begin"); err != nil {
		return err
	}
	var position string
	err = r.step(s.Name+": copied from "+primary.address, func() (err error) {
		if s.Name == "mariadb" {
			position, err = r.copyMariaDB(ctx, s.Database, primary, replica, c)
			return err
		}
		return r.copyPostgres(ctx, s, replica, c)
	})
	if err != nil {
		return err
	}
	return r.step(s.Name+": started on "+replica.address, func() error {
		if _, err := volume("swap"); err != nil {
			return err
		}
		if err := replica.start(ctx, "peer", s.Service, portService); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeoutCause(ctx, r.Timeout, fmt.Errorf("it does not respond after %s", r.Timeout))
		defer cancel()
		var last error
		follow := func(ctx context.Context) bool { last = s.replica.Follow(ctx, position); return last == nil }
		if err := eventually(ctx, follow); err != nil {
			return fmt.Errorf("it does not follow the primary: %w: %w", err, last)
		}
		_, err := volume("commit")
		return err
	})
}

// awaitAlone waits until no commit waits for the replica, which is going to be copied: the copy of MariaDB would wait for the commits, and they for the replica.
func (r *Rejoin) awaitAlone(ctx context.Context, s servers) error {
	if s.Name != "mariadb" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*lostAfter)
	defer cancel()
	err := eventually(ctx, func(ctx context.Context) bool {
		state, err := s.primaryState(ctx)
		return err == nil && !state.IsSynchronous
	})
	if err != nil {
		return hint.New(errors.New("commits wait for the replica, so that no copy can be made"),
			"set "+WithoutReplicaVariable+"=continue in .env, docker compose up --detach replication, and call it again; set it back afterwards")
	}
	return nil
}

// finishCopy removes what an interrupted call has left beside the data of a replica that follows.
func finishCopy(volume func(operation string) (string, error)) error {
	out, err := volume("state")
	if err != nil {
		return err
	}
	switch _, state, _ := strings.Cut(out, "\t"); state {
	case "":
		return nil
	case "staging": // the old data follows, after all
		_, err = volume("undo")
	default:
		_, err = volume("commit")
	}
	return err
}

// volume returns the container of a database, and what runs `edge volume` on its data.
func (h *host) volume(ctx context.Context, d Database) (c compose.Container, run func(operation string) (string, error), err error) {
	if c, err = h.container(ctx, d.Service); err != nil {
		return c, nil, err
	}
	image, err := h.edgeImage(ctx)
	if err != nil {
		return c, nil, err
	}
	return c, func(operation string) (string, error) {
		out, _, err := h.docker.Run(ctx, "run", "--rm", "--network", "none", "--user", "0:0", "--volumes-from", c.ID, "--entrypoint", "edge", image, "volume", operation, dataDirectories[d.Name])
		return strings.TrimSpace(out), err
	}, nil
}

// helperName is the name of the container that copies a database.
func (h *host) helperName(d Database) string { return h.project + "-rejoin-" + d.Name }

// removeHelper ends a copy that runs without the process that has started it.
func (h *host) removeHelper(ctx context.Context, d Database) {
	_, _, _ = h.docker.Run(ctx, "rm", "--force", h.helperName(d)) // usually there is none
}

// finishEarlier ends what an earlier call has left. A copy that is in place was complete, and what it has replaced is older.
func finishEarlier(volume func(operation string) (string, error)) error {
	out, err := volume("state")
	if err != nil {
		return err
	}
	switch _, state, _ := strings.Cut(out, "\t"); state {
	case "", "staging":
		return nil
	case "removing", "swapped":
		_, err = volume("commit")
	default:
		_, err = volume("undo")
	}
	return err
}

// stagedDirectory is where `edge volume begin` has new content staged.
const stagedDirectory = "/.edge-restore-new"

// copyMariaDB copies a database from one host to the other through this process, and returns the position from which it continues.
func (r *Rejoin) copyMariaDB(ctx context.Context, d Database, primary, replica *host, c compose.Container) (string, error) {
	source, err := primary.container(ctx, d.Service)
	if err != nil {
		return "", err
	}
	const login = `
for name in MARIADB_ROOT_PASSWORD MYSQL_ROOT_PASSWORD; do
	eval "value=\${$name:-} file=\${${name}_FILE:-}"
	[ -z "$file" ] || value=$(cat "$file")
	[ -z "$value" ] || export MYSQL_PWD="$value"
done
program=$(command -v mariadb-backup || command -v mariabackup)
`
	reader, writer := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		stderr, err := primary.docker.Stream(ctx, nil, writer, "exec", source.ID, "sh", "-c", "set -eu"+login+`directory=$(mktemp -d); trap 'rm -rf "$directory"' EXIT
"$program" --backup --stream=mbstream --user=root --target-dir="$directory"`)
		if err == nil && !strings.Contains(stderr, "completed OK!") {
			err = errors.New("the copy has ended early")
		}
		_ = writer.CloseWithError(err)
		sent <- err
	}()
	var out strings.Builder
	script := "set -eu\ncd " + dataDirectories["mariadb"] + stagedDirectory + `
mbstream -x
program=$(command -v mariadb-backup || command -v mariabackup)
"$program" --prepare --target-dir=. >&2
chown -R mysql:mysql .
cut -f 3 xtrabackup_binlog_info mariadb_backup_binlog_info 2>/dev/null | head -n 1`
	_, receiveErr := replica.docker.Stream(ctx, reader, &out, "run", "--rm", "--init", "--name", replica.helperName(d), "--interactive", "--network", "none", "--user", "0:0", "--volumes-from", c.ID, "--tmpfs", "/tmp:mode=1777", "--entrypoint", "sh", c.Image, "-c", script)
	_ = reader.CloseWithError(errors.New("the other host takes no more"))
	if err := errors.Join(<-sent, receiveErr); err != nil {
		return "", err
	}
	position := strings.TrimSpace(out.String())
	if position == "" {
		return "", errors.New("the copy does not say where it ends: does the primary have --log-bin?")
	}
	return position, nil
}

// copyPostgres has the replica's host copy the database from the primary's.
func (r *Rejoin) copyPostgres(ctx context.Context, s servers, replica *host, c compose.Container) error {
	if err := r.prepareSlot(ctx, s); err != nil {
		return err
	}
	if err := replica.start(ctx, "peer"); err != nil {
		return err
	}
	peer, err := replica.container(ctx, "peer")
	if err != nil {
		return err
	}
	network, err := sharedNetwork(peer, c)
	if err != nil {
		return err
	}
	script := "set -eu\ncd " + dataDirectories["postgres"] + stagedDirectory + `
PGPASSWORD=$(cat); export PGPASSWORD
pg_basebackup --pgdata=. --host=peer --port=5432 --username="$POSTGRES_USER" --wal-method=stream --slot=` + replicaName + ` --checkpoint=fast >&2
touch standby.signal
chown -R postgres:postgres .
chmod 0700 .
sync`
	_, err = replica.docker.Stream(ctx, strings.NewReader(r.config.postgresPassword), io.Discard, "run", "--rm", "--init", "--name", replica.helperName(s.Database), "--interactive", "--network", network, "--user", "0:0",
		"--volumes-from", c.ID, "--env", "POSTGRES_USER="+r.config.postgresUser, "--entrypoint", "sh", c.Image, "-c", script)
	return err
}

// prepareSlot has the primary keep its log from now on.
func (r *Rejoin) prepareSlot(ctx context.Context, s servers) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return s.primary.(*postgres).createSlot(ctx)
}

// sharedNetwork returns a network of both containers, of which one may be stopped.
func sharedNetwork(running, stopped compose.Container) (string, error) {
	for name := range stopped.NetworkSettings.Networks {
		if _, isShared := running.NetworkSettings.Networks[name]; isShared {
			return name, nil
		}
	}
	return "", hint.New(fmt.Errorf("%s and %s have no network in common", running.Name, stopped.Name), "use compose.replica.yaml on that host, too")
}

// edgeImage returns the image of the host's edge, which has `edge volume`.
func (h *host) edgeImage(ctx context.Context) (string, error) {
	c, err := h.container(ctx, "edge")
	return c.Image, err
}

// await waits until the watcher says that the replica has everything, and that commits wait for it.
func (r *Rejoin) await(ctx context.Context, database string) error {
	var last string
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	err := eventually(ctx, func(context.Context) bool {
		state, err := r.readState(ctx)
		if err != nil {
			last = err.Error()
			return false
		}
		if state == nil || state.Databases[database] == nil || state.IsStale(time.Now()) {
			last = "the service replication does not run"
			return false
		}
		d := state.Databases[database]
		last = cmp.Or(d.Problem, d.Reason, "it does not have everything yet")
		return d.Mode == Synchronous && d.IsConnected
	})
	if err != nil {
		return hint.New(fmt.Errorf("the replica is not in sync after %s: %s", r.Timeout, last), "it goes on by itself: edge replica status")
	}
	return nil
}
