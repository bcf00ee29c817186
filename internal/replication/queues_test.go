package replication

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestQueuesOfTheReplicaAreEmptied: those on its host are of the time before another one was promoted.
func TestQueuesOfTheReplicaAreEmptied(t *testing.T) {
	const loading = "LOADING Redis is loading the dataset in memory"
	for name, test := range map[string]struct {
		running, answers []string
		want             string // the error
	}{
		"it runs":        {running: []string{queueService}},
		"it is stopped":  {},
		"it is starting": {running: []string{queueService}, answers: []string{loading, ""}},
		"it refuses":     {running: []string{queueService}, answers: slices.Repeat([]string{"NOPERM this user has no permissions"}, 100), want: "bigcapital-redis on b: not done within"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakes(t)
			f.hosts["b"].running, f.hosts["b"].redis = test.running, test.answers
			r := &Rejoin{Stack: f.stack, Timeout: 3 * time.Second}
			if err := r.load(t.Context()); err != nil {
				t.Fatal(err)
			}
			err := r.emptyQueues(t.Context(), r.host("b"))
			ran := strings.Join(f.hosts["b"].ran, "\n")
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "NOPERM") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || !strings.HasSuffix(ran, "exec bigcapital-redis redis-cli FLUSHALL SYNC") || !slices.Contains(f.hosts["b"].running, queueService) {
				t.Errorf("got %v, ran\n%s", err, ran)
			}
		})
	}
}
