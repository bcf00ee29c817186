// Package replication keeps the databases of a stack on two hosts: a primary, and a replica that has every acknowledged commit. It watches both, decides when
// the primary goes on without its replica, promotes the replica, and makes the old primary a replica again.
//
// All applications reach the databases through one host, on which the [Watcher] runs, too. So one place says which host is the primary, and only that place
// lets it go on alone, after it has written that down. Therefore a promotion knows whether the replica has everything, also if the primary's host is gone.
package replication

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Mode says what a primary's commits wait for.
type Mode string

// The modes.
const (
	Synchronous Mode = "synchronous" // a commit is acknowledged after the replica has it on its disk
	Alone       Mode = "alone"       // commits wait for nobody: if the primary is lost, what the replica has not received yet is lost
)

// Policy says what happens when the replica is lost.
type Policy string

// The policies.
const (
	Stop     Policy = "stop"     // commits wait until the replica is back
	Continue Policy = "continue" // after [lostAfter], the primary goes on alone
)

// ParsePolicy reads a policy. The empty text is [Stop].
func ParsePolicy(text string) (Policy, error) {
	switch p := Policy(text); p {
	case "":
		return Stop, nil
	case Stop, Continue:
		return p, nil
	}
	return "", fmt.Errorf("%s is %q: want %s or %s", WithoutReplicaVariable, text, Stop, Continue)
}

// lostAfter is how long a replica may not confirm anything until it counts as lost.
const lostAfter = 10 * time.Second

// PrimaryState is what a database server says of itself and its replica.
type PrimaryState struct {
	IsReplica     bool          // it follows another server, and takes no writes
	IsReadOnly    bool          // it takes no writes yet
	IsSynchronous bool          // its commits wait for the replica
	IsConnected   bool          // the replica receives, and confirms
	IsInSync      bool          // its commits wait for the replica, which has all earlier ones
	Waiting       int           // commits that wait for the replica
	Wait          time.Duration // how long the last commits have waited for the replica; 0 if there were none lately
	Unconfirmed   int64         // grows with what was acknowledged although the replica had not confirmed it
	Confirmed     int64         // grows with what the replica confirms
	Position      string        // the end of its log
	Generation    int64         // see [ReplicaState]
}

// ReplicaState is what a database server says of the one that it follows.
type ReplicaState struct {
	IsReplica   bool          // it follows another server
	IsWritable  bool          // it is a primary, and takes writes
	IsConnected bool          // it receives
	IsStopped   bool          // somebody has stopped it from receiving
	Started     time.Time     // when the server was started; what MariaDB has received and not applied is lost then
	Position    string        // the end of what it has received
	Lag         time.Duration // how old what it has applied is; 0 if it has applied everything that it has received
	Problem     string        // why it does not receive or apply
	// Of a PostgreSQL that follows none: its timeline, to which each promotion adds. Of two servers, the one that was promoted last has the higher one.
	Generation int64
}

// Server is one of the two servers of a database.
type Server interface {
	// Primary returns the state of a server from which the other one receives.
	Primary(ctx context.Context) (PrimaryState, error)
	// Replica returns the state of a server that receives.
	Replica(ctx context.Context) (ReplicaState, error)
	// SetSynchronous has commits wait for the replica, or for nobody. It does not survive a restart: a server that starts is synchronous.
	SetSynchronous(ctx context.Context, isSynchronous bool) error
	// Settle returns when all that runs on the server goes by what SetSynchronous has set.
	Settle(ctx context.Context) error
	// SetWritable lets a primary that has started take writes.
	SetWritable(ctx context.Context) error
	// Reconnect has a replica connect again.
	Reconnect(ctx context.Context) error
	// Has reports whether a replica has received and applied everything up to a position of its primary.
	Has(ctx context.Context, position string) (bool, error)
	// Tables returns how many tables the applications have there.
	Tables(ctx context.Context) (int, error)
	// Promote makes a replica a primary that is alone. It first applies what it has received. It may be called again.
	Promote(ctx context.Context) error
	// Follow makes a server whose data is a copy of its primary's a replica, from the position that the copy has. It fails if it does not receive within a
	// few seconds.
	Follow(ctx context.Context, position string) error
	Close()
}

// Database is a database of the stack.
type Database struct {
	Name    string // in the state, metrics and messages
	Service string // of the compose file, and its name in TLS
	Open    func(c *Config, host string) (Server, error)
}

// Databases are those that are replicated. Redis is not: its queues start empty.
var Databases = []Database{
	{"mariadb", "bigcapital-mysql", openMariaDB},
	{"postgres", "corteza-db", openPostgres},
}

// errNotReplica says that a server was expected to be a replica.
var errNotReplica = errors.New("it is not a replica")
