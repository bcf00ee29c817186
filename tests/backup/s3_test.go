package backup

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

// TestRecoveryPointUnderWrites: both databases die at random times while `edge backup logs` runs each minute. What was written in the time since
// the last run is lost, and nothing else.
func TestRecoveryPointUnderWrites(t *testing.T) {
	harness.LongOnly(t, "backups")
	crashes := harness.Count(t, "EDGE_TEST_CRASHES", 2)
	var longest time.Duration
	for i := range crashes {
		stop := stack.clockUntilItFails(t) // also while the set is stored: what it has may be all that is left
		stack.mustEdge(t, "backup", "bigcapital", "corteza")
		crash := time.Now().Add(time.Duration(float64(2*time.Minute) * rand.Float64()))
		ctx, cancel := context.WithDeadline(t.Context(), crash)
		for ctx.Err() == nil { // the timer
			next := time.Now().Add(time.Minute)
			if out, err := stack.edge(ctx, "backup", "logs"); err != nil && ctx.Err() == nil {
				t.Errorf("%v\n%s", err, out)
			}
			select {
			case <-time.After(time.Until(next)):
			case <-ctx.Done():
			}
		}
		cancel()
		crashed := time.Now()
		stack.project.MustCompose(t, "kill", "shop-db", "crm-db")
		stop()
		out, err := stack.edge(t.Context(), "restore", "latest", "bigcapital", "corteza", "--at", crashed.Format(time.DateTime))
		if _, reached, found := strings.Cut(out, "they reach until "); err != nil && found { // the last run was before
			at, parseErr := time.Parse(time.RFC3339, strings.Fields(reached)[0])
			if parseErr != nil {
				t.Fatal(parseErr)
			}
			out, err = stack.edge(t.Context(), "restore", "latest", "bigcapital", "corteza", "--at", at.Format(time.RFC3339))
		}
		if err != nil { // there was no run since both sets were stored
			if !strings.Contains(out, "nothing is stored of the log after the backup") && !strings.Contains(out, "there is no set of") && !strings.Contains(out, "hint: restore it without --at") {
				t.Errorf("%v\n%s", err, out)
			}
			stack.mustEdge(t, "restore", "latest", "bigcapital", "corteza")
		}
		mariadb, postgres := stack.lastTimes(t)
		lost := max(crashed.Sub(mariadb), crashed.Sub(postgres))
		longest = max(longest, lost)
		t.Logf("crash %d: MariaDB has all until %.1f s, PostgreSQL until %.1f s before it", i+1, crashed.Sub(mariadb).Seconds(), crashed.Sub(postgres).Seconds())
		if lost > 2*time.Minute { // the timer's minute, and what storing the logs takes
			t.Errorf("%v are lost", lost)
		}
	}
	stack.dropClock(t)
	t.Logf("recovery point: at most %.1f s before %d crashes", longest.Seconds(), crashes)
}

// s3Server starts versitygw, and returns its process.
func s3Server(t *testing.T, dir, address string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(harness.Tool(t, "versitygw"), "--port", address, "--access", "key", "--secret", "secret-key", "posix", "--nometa", dir)
	startServer(t, cmd, address)
	return cmd
}

// TestARansomedRepositoryCanBeRestoredFrom: the intruder has the host and all that backup.env has, and the repository's server takes no removals. It
// keeps all sets, backups go on, and another machine removes old ones.
func TestARansomedRepositoryCanBeRestoredFrom(t *testing.T) {
	harness.LongOnly(t, "backups")
	dir, address := t.TempDir(), testport.Address(t)
	serve := func(args ...string) (stop func()) {
		cmd := exec.Command(harness.Tool(t, "rest-server"), append([]string{"--no-auth", "--listen", address, "--path", dir}, args...)...)
		return startServer(t, cmd, address)
	}
	stop := serve("--append-only")
	stack.otherRepository(t, "rest:http://"+address+"/")
	stack.mustEdge(t, "backup", "bigcapital", "corteza")
	trusted, wanted := stack.latest(t), stack.fingerprint(t)

	// What the intruder can do with the password, and with requests of his own.
	restic := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "restic", args...)
		cmd.Env = append(os.Environ(), "RESTIC_REPOSITORY=rest:http://"+address+"/", "RESTIC_PASSWORD="+stack.recovery)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, args := range [][]string{{"forget", "--keep-last", "1", "--group-by", "host", "--prune"}, {"forget", "--prune", "latest"}} {
		out, err := restic(args...)
		if err == nil {
			t.Errorf("restic %s succeeded:\n%s", strings.Join(args, " "), out)
		}
		t.Logf("restic %s: %s", strings.Join(args, " "), lastLine(out))
	}
	refused := 0
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		file, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		kind, base := filepath.Split(file)
		if first, _, isData := strings.Cut(kind, "/"); isData {
			kind = first + "/" // the server knows packs without their directory
		}
		for _, method := range []string{http.MethodDelete, http.MethodPost} {
			request, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+"/"+kind+base, strings.NewReader("ransom"))
			if err != nil {
				return err
			}
			answer, err := http.DefaultClient.Do(request)
			if err != nil {
				return err
			}
			_ = answer.Body.Close()
			if answer.StatusCode < 300 {
				t.Errorf("%s %s: %s", method, kind+base, answer.Status)
			}
			refused++
		}
		return nil
	})
	if err != nil || refused == 0 {
		t.Errorf("%v, %d requests refused", err, refused)
	}
	t.Logf("%d requests that remove or overwrite a file were refused", refused)
	// To add is allowed: parts of the trusted set that are none of it.
	add := func(app, part string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "restic", "backup", "--stdin", "--stdin-filename", part, "--tag", strings.Join([]string{"edge-backup", "project=" + stack.project.Name, "app=" + app, "set=" + trusted, "part=" + part, "parts=1"}, ","))
		cmd.Env = append(os.Environ(), "RESTIC_REPOSITORY=rest:http://"+address+"/", "RESTIC_PASSWORD="+stack.recovery)
		cmd.Stdin = strings.NewReader("ransom")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	add("corteza", "crm-db-roles.sql")
	add("corteza", "more")
	if err := stack.mariadb(t.Context(), "DROP DATABASE bigcapital_tenant_1"); err != nil {
		t.Fatal(err)
	}
	out := stack.mustEdge(t, "backup", "bigcapital") // of what is left
	t.Log(out)
	if got := stack.sets(t); len(got) != 3 {
		t.Errorf("%d sets are there, want 3: %v", len(got), got)
	}
	stack.mustEdge(t, "verify", "--data", "100%")
	t.Log(stack.mustEdge(t, "restore", trusted, "bigcapital", "corteza"))
	if got := stack.fingerprint(t); got != wanted {
		t.Errorf("the data is\n%s\nwant\n%s", got, wanted)
	}

	// Another manifest: nobody can say which one is right, but for the storage.
	add("corteza", "manifest.json")
	out, err = stack.edge(t.Context(), "restore", trusted, "corteza")
	_, named, _ := strings.Cut(out, "the snapshots ")
	named, _, _ = strings.Cut(named, "\n")
	if err == nil || !strings.Contains(out, "several manifests") {
		t.Fatalf("%v: %s", err, out)
	}
	var last string
	var lastTime time.Time
	for _, id := range strings.Split(named, ", ") {
		info, err := os.Stat(filepath.Join(dir, "snapshots", id))
		if err != nil {
			t.Fatal(err)
		}
		if info.ModTime().After(lastTime) {
			last, lastTime = id, info.ModTime()
		}
	}

	// The other machine, whose server has the same directory.
	stop()
	stop = serve()
	defer stop()
	if out := stack.mustEdge(t, "backup", "bigcapital", "corteza"); !strings.Contains(out, "warning: the set "+trusted+" of corteza has several manifests") {
		t.Errorf("the backup does not say so:\n%s", out)
	}
	if out, err := restic("forget", last); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	stack.mustEdge(t, "restore", trusted, "corteza")
	if got := stack.fingerprint(t); got != wanted {
		t.Errorf("the data is\n%s\nwant\n%s", got, wanted)
	}
	if out, err := restic("check"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// startServer starts a server and waits until it takes connections. The test ends it, if stop does not.
func startServer(t *testing.T, cmd *exec.Cmd, address string) (stop func()) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(stop)
	harness.Eventually(t, "the server takes connections", func() bool {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return stop
}

// throttled passes connections on to another address, at so many bytes a second, until the test ends.
func throttled(t *testing.T, to string, bytesPerSecond int64) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				backend, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer backend.Close()
				go func() {
					_, _ = io.Copy(conn, backend)
					_ = conn.Close()
				}()
				for {
					if _, err := io.CopyN(backend, conn, bytesPerSecond/20); err != nil {
						return
					}
					time.Sleep(50 * time.Millisecond)
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// TestS3ThatIsSlowOrDies: a slow server takes the backup. One that stops answering in mid-stream, or dies, ends the backup with an error, no set is
// stored, and the next backup goes on.
func TestS3ThatIsSlowOrDies(t *testing.T) {
	harness.LongOnly(t, "backups")
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "backups"), 0o755); err != nil { // the bucket
		t.Fatal(err)
	}
	address := testport.Address(t)
	server := s3Server(t, dir, address)
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret-key")
	stack.otherRepository(t, "s3:http://"+address+"/backups")
	stack.mustEdge(t, "backup", "corteza")

	t.Run("slow", func(t *testing.T) {
		t.Setenv("EDGE_BACKUP_REPOSITORY", "s3:http://"+throttled(t, address, 1<<20)+"/backups")
		start := time.Now()
		stack.mustEdge(t, "backup", "corteza")
		t.Logf("at 1 MB/s, a backup took %.0f s", time.Since(start).Seconds())
	})
	for _, c := range []struct {
		name       string
		end, again func(t *testing.T)
	}{
		{"it stops answering", func(t *testing.T) {
			if err := server.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}, func(t *testing.T) {
			if err := server.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
		}},
		{"it dies", func(t *testing.T) {
			if err := server.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = server.Wait()
		}, func(t *testing.T) { server = s3Server(t, dir, address) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(stack.sets(t))
			cmd := stack.command(t.Context(), "backup", "corteza")
			var out strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second) // in the middle of a part
			c.end(t)
			start := time.Now()
			err := cmd.Wait()
			took := time.Since(start)
			exit, _ := errors.AsType[*exec.ExitError](err)
			if exit == nil || !strings.Contains(out.String(), "no set is stored") && !strings.Contains(out.String(), "does not answer") {
				t.Errorf("got %v\n%s", err, out.String())
			}
			t.Logf("the backup ended %.0f s later: %s", took.Seconds(), lastLine(out.String()))
			if took > 11*time.Minute { // restic is ended when nothing has moved for ten
				t.Errorf("it took %v", took)
			}
			c.again(t)
			if got := len(stack.sets(t)); got != before {
				t.Errorf("%d sets, and %d before", got, before)
			}
			stack.mustEdge(t, "backup", "corteza")
		})
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
