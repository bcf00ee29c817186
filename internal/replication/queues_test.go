package replication

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestQueuesOfTheReplicaAreEmptied: those on its host are of the time before another one was promoted. Those of the primary are not touched.
func TestQueuesOfTheReplicaAreEmptied(t *testing.T) {
	const loading = "LOADING Redis is loading the dataset in memory"
	for name, test := range map[string]struct {
		running, answers []string
		primary          string // the name of the host of its MariaDB
		want             string // the error
	}{
		"it runs":                           {running: []string{queueService}, primary: "0123456789ab"},
		"it is stopped":                     {},
		"it is starting":                    {running: []string{queueService}, answers: []string{loading, ""}},
		"it refuses":                        {running: []string{queueService}, answers: slices.Repeat([]string{"NOPERM this user has no permissions"}, 2), want: "bigcapital-redis on b: NOPERM"},
		"it does not come up":               {running: []string{queueService}, answers: slices.Repeat([]string{loading}, 100), want: "not done within"},
		"the Engine is that of the primary": {running: []string{queueService}, primary: "bigcapital-m", want: "ssh://root@b is that of a, the primary, and not of b"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakes(t)
			f.hosts["b"].running, f.hosts["b"].redis = append(f.hosts["b"].running, test.running...), test.answers
			f.mariadb.host = test.primary
			for _, d := range f.local.state.Databases {
				d.IsConnected = true
			}
			r := &Rejoin{Stack: f.stack, Timeout: 3 * time.Second}
			err := r.Run(t.Context())
			ran := strings.Join(f.hosts["b"].ran, "\n")
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v", err)
				}
				if test.primary != "" && len(f.hosts["b"].ran) > 0 {
					t.Errorf("on the primary's Engine ran\n%s", ran)
				}
				return
			}
			if err != nil || !strings.Contains(ran, "exec bigcapital-redis redis-cli FLUSHALL SYNC") || !slices.Contains(f.hosts["b"].running, queueService) {
				t.Errorf("got %v, ran\n%s", err, ran)
			}
			if len(f.hosts["a"].ran) > 0 {
				t.Errorf("on the primary's host ran\n%s", strings.Join(f.hosts["a"].ran, "\n"))
			}
			if !strings.Contains(f.out.String(), "bigcapital-redis: emptied on b") {
				t.Errorf("printed\n%s", f.out)
			}
		})
	}
}
