package harness

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// RunFirst has the threads of this process, though not the processes that it starts, run before all others of the machine until stop is called: clients on another machine would not
// wait for the processors of this one either. Without it, a measured time has what the client itself has waited for a processor.
func RunFirst(t testing.TB) (stop func()) {
	t.Helper()
	if err := setPolicy(unix.SchedAttr{Policy: unix.SCHED_RR, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK}); err != nil {
		t.Fatalf("run first: %v", err)
	}
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond): // threads that the runtime has started since
				if err := setPolicy(unix.SchedAttr{Policy: unix.SCHED_RR, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK}); err != nil {
					t.Errorf("run first: %v", err)
					return
				}
			}
		}
	})
	return func() {
		close(done)
		running.Wait()
		if err := setPolicy(unix.SchedAttr{Policy: unix.SCHED_NORMAL}); err != nil {
			t.Errorf("run as others do: %v", err)
		}
	}
}

// WeighContainersAsSystemd gives each container that runs the weight of a program of the host until the test ends, as on a host with systemd, where each has a control group beside those of dockerd
// and containerd. Without systemd, all containers are in one group, which gets as much of a busy processor as dockerd alone: the servers then wait for what Docker does.
func WeighContainersAsSystemd(t testing.TB) {
	t.Helper()
	driver := MustDocker(t, "info", "--format", "{{.CgroupDriver}}")
	if strings.TrimSpace(driver) != "cgroupfs" {
		return
	}
	running := len(strings.Fields(MustDocker(t, "ps", "--quiet")))
	for file, weight := range map[string]int{"/sys/fs/cgroup/cpu/docker/cpu.shares": 1024, "/sys/fs/cgroup/docker/cpu.weight": 100} {
		before, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // of the other version of control groups
		}
		if err == nil {
			err = os.WriteFile(file, strconv.AppendInt(nil, int64(weight*running), 10), 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.WriteFile(file, before, 0); err != nil {
				t.Error(err)
			}
		})
	}
}

// setPolicy sets how the threads of this process are scheduled.
func setPolicy(attr unix.SchedAttr) error {
	attr.Size = unix.SizeofSchedAttr
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetAttr(id, &attr, 0); err != nil && err != unix.ESRCH {
			return err
		}
	}
	return nil
}
