package databases

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/replication"
	"github.com/theworklabs/edge/tests/harness"
)

// putOnSmallDisk has the databases of a machine on a disk of a given size, which can be filled.
func (m *machine) putOnSmallDisk(t *testing.T, megabytes int) {
	t.Helper()
	m.disk = filepath.Join(m.dir, "disk")
	image := filepath.Join(m.dir, "disk.ext4") // a real file system, on which a commit waits for the machine's disk
	for _, command := range [][]string{{"truncate", "--size", fmt.Sprintf("%dM", megabytes), image}, {"mkfs.ext4", "-q", image}} {
		if out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	harness.Mount(t, m.disk, "-o", "loop", image) // unmounted after the machine's containers have gone
	text := "volumes:\n"
	for _, volume := range []string{"bigcapital_mysql", "corteza_db"} {
		directory := filepath.Join(m.disk, volume)
		if err := os.Mkdir(directory, 0o755); err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("  %s: {driver: local, driver_opts: {type: none, o: bind, device: %q}}\n", volume, directory)
	}
	file := filepath.Join(m.dir, "disk.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m.Files = append(m.Files, file)
}

// fillDisk leaves no space on the machine's disk. free ends that.
func (m *machine) fillDisk(t *testing.T) (free func()) {
	t.Helper()
	name := filepath.Join(m.disk, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for size := int64(64 << 20); size >= 4096; {
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if syscall.Fallocate(int(f.Fd()), 0, info.Size(), size) != nil {
			size /= 2
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

// testFullDisk: the replica's disk is full. Commits wait, which the status says, and go on when there is space.
func (tr *trio) testFullDisk(t *testing.T, c *client) {
	_, replica := tr.hosts(t)
	if replica.disk == "" {
		t.Fatal("the replica's disk is not the small one")
	}
	tr.expectNoAlert(t)
	w := c.startWriter(t, "full")
	defer w.stop(t, c)
	w.expectMore(t, "rows are written")
	free := replica.fillDisk(t)
	// More than what the replica's logs still have space for. These statements wait, too.
	bulk := make(chan error, 2)
	for _, write := range []func() (string, error){
		func() (string, error) {
			return c.sql(t.Context(), "USE bigcapital_system; CREATE TABLE bulk AS SELECT REPEAT('x', 1000) AS text FROM seq_1_to_100000")
		},
		func() (string, error) {
			return c.psql(t.Context(), "CREATE TABLE bulk AS SELECT repeat(md5(n::text), 30) AS text FROM generate_series(1, 100000) n")
		},
	} {
		go func() {
			_, err := write()
			bulk <- err
		}()
	}
	time.Sleep(30 * time.Second)
	tr.expectWaiting(t, w)
	before, start := w.count(), time.Now()
	free()
	harness.EventuallyWithin(t, 4*time.Minute, "rows are written again", func() bool { now := w.count(); return now[0] > before[0]+3 && now[1] > before[1]+3 })
	t.Logf("rows were written again %.0f s after there was space", time.Since(start).Seconds())
	tr.eventuallyMode(t, replication.Synchronous)
	for range 2 {
		t.Logf("a statement that had to wait: %v", <-bulk)
	}
	w.stop(t, c)
	w.expectAll(t, c)
	for _, drop := range []func() (string, error){
		func() (string, error) { return c.sql(t.Context(), "DROP TABLE IF EXISTS bigcapital_system.bulk") },
		func() (string, error) { return c.psql(t.Context(), "DROP TABLE IF EXISTS bulk") },
	} {
		if out, err := drop(); err != nil {
			t.Error(out, err)
		}
	}
}
