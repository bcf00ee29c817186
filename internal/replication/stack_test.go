package replication

import "testing"

func TestTheHostsAreSwapped(t *testing.T) {
	for name, test := range map[string]struct{ before, after string }{
		"both": {
			"A=1\nDATABASES_HOST=10.0.0.2\nDATABASES_REPLICA=10.0.0.3\n",
			"A=1\nDATABASES_HOST=10.0.0.3\nDATABASES_REPLICA=10.0.0.2\n",
		},
		"with one Engine": {
			"DATABASES_REPLICA_DOCKER=ssh://admin@b\nDATABASES_HOST=a\nDATABASES_REPLICA=b",
			"DATABASES_REPLICA_DOCKER=\nDATABASES_HOST=b\nDATABASES_REPLICA=a\nDATABASES_DOCKER=ssh://admin@b\n",
		},
		"the last one counts": {
			"DATABASES_HOST=old\nDATABASES_HOST=a\nDATABASES_REPLICA=b\n# DATABASES_REPLICA=c\n",
			"DATABASES_HOST=old\nDATABASES_HOST=b\nDATABASES_REPLICA=a\n# DATABASES_REPLICA=c\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(swapLines([]byte(test.before))); got != test.after {
				t.Errorf("got\n%s\nwant\n%s", got, test.after)
			}
		})
	}
}
