package storage

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestWrongKeyCanNeitherReadNorOverwrite(t *testing.T) {
	o := testOptions(database, keyOne)
	o.Table = "edge_storage_keys"
	first := openStore(t, o)
	if err := first.Store(t.Context(), "a/b", []byte("secret")); err != nil {
		t.Fatal(err)
	}
	o.Keys = []string{keyTwo}
	other := openStore(t, o)
	if _, err := other.Load(t.Context(), "a/b"); err == nil || !strings.Contains(err.Error(), "a key that is not configured") {
		t.Errorf("load: %v", err)
	}
	if err := other.Store(t.Context(), "a/b", []byte("overwritten")); err == nil {
		t.Error("the store overwrites a value that it cannot read")
	}
	o.Keys = []string{keyTwo, keyOne}
	rotated := openStore(t, o)
	if got, err := rotated.Load(t.Context(), "a/b"); err != nil || string(got) != "secret" {
		t.Errorf("with the new and the old key: %q %v", got, err)
	}
	if err := rotated.Store(t.Context(), "a/b", []byte("anew")); err != nil {
		t.Fatal(err)
	}
	o.Keys = []string{keyTwo}
	if got, err := openStore(t, o).Load(t.Context(), "a/b"); err != nil || string(got) != "anew" {
		t.Errorf("with only the new key: %q %v", got, err)
	}
}

// TestAnOldKeyCanBeRetired: once an edge has started with the new key, it has encrypted all values with it, including those that
// nobody writes again.
func TestAnOldKeyCanBeRetired(t *testing.T) {
	o := testOptions(database, keyOne)
	o.Table = "edge_storage_retired"
	first := openStore(t, o)
	for _, key := range []string{"acme/account", "acme/certificate", "pki/root"} {
		if err := first.Store(t.Context(), key, []byte("of "+key)); err != nil {
			t.Fatal(err)
		}
	}
	o.Keys = []string{keyTwo, keyOne}
	if !openStore(t, o).Exists(t.Context(), "acme/account") {
		t.Fatal("acme/account does not exist with both keys")
	}
	o.Keys = []string{keyTwo}
	retired := openStore(t, o)
	for _, key := range []string{"acme/account", "acme/certificate", "pki/root"} {
		if got, err := retired.Load(t.Context(), key); err != nil || string(got) != "of "+key {
			t.Errorf("%s with only the new key: %q %v", key, got, err)
		}
	}
}

// TestOneValueUnderAnUnknownKeyStopsTheStore checks that the store looks at all values, not only at the newest one.
func TestOneValueUnderAnUnknownKeyStopsTheStore(t *testing.T) {
	o := testOptions(database, keyOne)
	o.Table = "edge_storage_mixed"
	if err := openStore(t, o).Store(t.Context(), "old", []byte("x")); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), o.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	other := testOptions(database, keyTwo)
	other.Table = "edge_storage_mixed_other"
	if err := openStore(t, other).Store(t.Context(), "new", []byte("y")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "INSERT INTO edge_storage_mixed SELECT * FROM edge_storage_mixed_other"); err != nil {
		t.Fatal(err)
	}
	if _, err := openStore(t, o).Load(t.Context(), "old"); err == nil || !strings.Contains(err.Error(), "new: the value is damaged, or encrypted with a key that is not configured") {
		t.Errorf("load: %v", err)
	}
}

func TestExistingTablesNeedNoCreatePrivilege(t *testing.T) {
	o := testOptions(database, keyOne)
	o.Table = "edge_storage_restricted"
	if err := openStore(t, o).Store(t.Context(), "a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), o.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	for _, statement := range []string{
		"CREATE ROLE restricted LOGIN PASSWORD 'hunter2'",
		"REVOKE CREATE ON SCHEMA public FROM PUBLIC",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON edge_storage_restricted, edge_storage_restricted_locks TO restricted",
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	o.DSN = strings.Replace(o.DSN, "edge:hunter2@", "restricted:hunter2@", 1)
	s := openStore(t, o)
	if got, err := s.Load(t.Context(), "a"); err != nil || string(got) != "x" {
		t.Errorf("%q %v", got, err)
	}
	if err := s.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	if err := s.Unlock(t.Context(), t.Name()); err != nil {
		t.Error(err)
	}
	o.Table = "edge_storage_elsewhere"
	if err := openStore(t, o).Store(t.Context(), "a", nil); err == nil || !strings.Contains(err.Error(), "prepare the table edge_storage_elsewhere") {
		t.Errorf("tables that are missing: %v", err)
	}
}

// TestValuesAreEncryptedAndAuthenticated checks that the store refuses values that somebody has changed or moved in the database.
func TestValuesAreEncryptedAndAuthenticated(t *testing.T) {
	o := testOptions(database, keyOne)
	o.Table = "edge_storage_sealed"
	s := openStore(t, o)
	for _, key := range []string{"one", "two"} {
		if err := s.Store(t.Context(), key, []byte("-----BEGIN PRIVATE KEY----- of "+key)); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := pgx.Connect(t.Context(), o.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var readable int
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM edge_storage_sealed WHERE position('PRIVATE'::bytea IN value) > 0").Scan(&readable); err != nil || readable > 0 {
		t.Errorf("%d values are readable (%v)", readable, err)
	}
	for _, change := range []string{
		"UPDATE edge_storage_sealed SET value = (SELECT value FROM edge_storage_sealed WHERE key = 'two') WHERE key = 'one'",
		"UPDATE edge_storage_sealed SET value = set_byte(value, 20, 255 - get_byte(value, 20)) WHERE key = 'two'",
		"UPDATE edge_storage_sealed SET value = ''",
		"UPDATE edge_storage_sealed SET value = 'plain text that nobody sealed'",
	} {
		if _, err := conn.Exec(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Load(t.Context(), "one"); err == nil {
			t.Errorf("after %s: the store accepts %q", change, got)
		}
	}
}
