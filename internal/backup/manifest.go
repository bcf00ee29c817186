package backup

import (
	"encoding/json"
	"fmt"
	"time"
)

// manifestVersion is the version of the manifest's form. A reader refuses later ones.
const manifestVersion = 1

// Manifest describes a set. It is stored as JSON.
type Manifest struct {
	Version      int               `json:"version"`
	Set          string            `json:"set"`
	Project      string            `json:"project"`
	App          string            `json:"app"`
	Start        time.Time         `json:"start"` // when the backup of the application began
	End          time.Time         `json:"end"`
	Architecture string            `json:"architecture"` // of the machine, such as amd64: a physical copy needs the same
	Images       map[string]string `json:"images"`       // service → ID of the image that its container ran
	// ImageDigests has, for each service of the application, the image as a registry has it, such as name@sha256:…; none for those that were built on this machine.
	ImageDigests map[string]string `json:"image_digests,omitempty"`
	Parts        []Part            `json:"parts"`
	Databases    []Database        `json:"databases,omitempty"`
	Warnings     []string          `json:"warnings,omitempty"` // what the set does not cover, or the data lacks
	Shrunk       []string          `json:"shrunk,omitempty"`   // what it has much less of than an earlier set
	Layout       *Layout           `json:"layout,omitempty"`   // only of [EdgeApp]
}

// Layout says which of a project's files are the arguments of docker compose. Those in the project's directory are relative to it.
type Layout struct {
	Files    []string `json:"files,omitempty"`
	EnvFiles []string `json:"env_files,omitempty"`
	Profiles []string `json:"profiles,omitempty"`
}

// Part is a stream of a set.
type Part struct {
	Name    string `json:"name"`              // unique in the set
	Service string `json:"service,omitempty"` // whose data it is; none for the project's files
	Kind    Kind   `json:"kind"`
	Format  string `json:"format"`
	// AppendOnly is the path of Redis' append-only file relative to Path, which Redis then reads instead of its snapshot.
	AppendOnly string `json:"append_only,omitempty"`
	Path       string `json:"path,omitempty"` // where the data is in its container; for physical copies and files
	Snapshot   string `json:"snapshot"`       // restic's ID, perhaps abbreviated
	Size       int64  `json:"size"`           // bytes
	SHA256     string `json:"sha256"`
	Added      int64  `json:"added"` // bytes that the repository did not have
}

// The formats of parts.
const (
	FormatMbstream  = "mbstream"   // a physical copy by mariadb-backup
	FormatSQL       = "sql"        // statements
	FormatBinlog    = "binlog tar" // MariaDB's log from the physical copy's position to the dump's
	FormatBaseTar   = "base tar"   // a physical copy by pg_basebackup
	FormatPgDump    = "pg_dump"    // pg_dump --format custom
	FormatWALTar    = "wal tar"    // PostgreSQL's log from the physical copy's end to the dump's instant
	FormatRDB       = "rdb"        // Redis
	FormatMongoDump = "mongodump"  // mongodump --archive --gzip
	FormatTar       = "tar"        // files
)

// Database is what a set's databases contain, at the instant of its dump.
type Database struct {
	Service string `json:"service"`
	Kind    Kind   `json:"kind"`
	Version string `json:"version"` // of the server
	// Position is that instant in the database's log: FILE:POSITION of MariaDB's binary log, or an LSN of PostgreSQL.
	Position string `json:"position,omitempty"`
	// PhysicalPosition is where the physical copy ends, before it is rolled forward.
	PhysicalPosition string `json:"physical_position,omitempty"`
	// Span is Position as the stored logs have it: see [dblog.Span]. It is empty if there is no log with which the set can be rolled forward.
	Span string `json:"span,omitempty"`
	// Checks is the version of the checks that Inconsistencies has the results of: see [inconsistencyChecks].
	Checks int `json:"checks,omitempty"`
	// SameInstant says that the physical copy, rolled forward to Position, has the same content as the dump. Otherwise it is older, and
	// Tables and Sums may differ from it.
	SameInstant bool              `json:"same_instant"`
	Tables      map[string]int64  `json:"tables"`               // SCHEMA.TABLE → rows
	Sums        map[string]string `json:"sums,omitempty"`       // of BigCapital's ledgers: SCHEMA.TABLE → sums
	Migrations  map[string]string `json:"migrations,omitempty"` // SCHEMA.TABLE → number and name of the last one
	// Inconsistencies are rows that refer to none, and the like: check → number of rows. The application may have written them itself; a
	// restored database must not have more.
	Inconsistencies map[string]int64 `json:"inconsistencies,omitempty"`

	// Standby says that the server was a standby: the set's log may end at Position, and the log goes on with what the primary writes next.
	Standby bool `json:"standby,omitempty"`

	attachments []string // the names of files that its rows have
}

// Size returns the bytes of all parts.
func (m *Manifest) Size() (total int64) {
	for _, p := range m.Parts {
		total += p.Size
	}
	return total
}

// Added returns the bytes that the set added to the repository.
func (m *Manifest) Added() (total int64) {
	for _, p := range m.Parts {
		total += p.Added
	}
	return total
}

// Rows returns the rows of all tables of a database.
func (d *Database) Rows() (total int64) {
	for _, n := range d.Tables {
		total += n
	}
	return total
}

// parseManifest reads a manifest, and refuses one of a later version.
func parseManifest(text []byte) (*Manifest, error) {
	m := new(Manifest)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	if m.Version < 1 || m.Version > manifestVersion {
		return nil, fmt.Errorf("the manifest has version %d, and this edge reads up to %d: use a later edge", m.Version, manifestVersion)
	}
	return m, nil
}
