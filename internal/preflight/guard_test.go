package preflight

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/caddyserver/certmagic"
	"github.com/jackc/pgx/v5/pgconn"
)

// TestDockerHostMustRefuseAllButTheList: what stands for a Docker Engine, from a good guard to none.
func TestDockerHostMustRefuseAllButTheList(t *testing.T) {
	lists := func(list string, other func(w http.ResponseWriter, r *http.Request)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/containers/json" {
				fmt.Fprint(w, list)
				return
			}
			other(w, r)
		}
	}
	forbid := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }
	for _, c := range []struct {
		name    string
		engine  http.HandlerFunc
		level   Level
		want    string
		unknown bool
	}{
		{"a guard", lists(`[{"Id": "1", "Command": "", "Mounts": null}]`, forbid), OK, "refuses the 7 other things", false},
		{"the Engine itself", lists(`[]`, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }), Error, "does not refuse GET /info (it answered 200)", false},
		{"one that lets containers be started", lists(`[]`, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.WriteHeader(http.StatusForbidden)
		}), Error, "does not refuse POST /containers/edge-check/start (it answered 404)", false},
		{"one that shows command lines", lists(`[{"Command": "app --password x"}]`, forbid), Error, "passes Command of containers", false},
		{"one that shows mounts", lists(`[{"Mounts": [{"Source": "/"}]}]`, forbid), Error, "passes Mounts of containers", false},
		{"one that refuses everything", forbid, Error, "can't be asked for the containers: it answered 403", true},
		{"one that breaks down", lists(`[]`, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), Error, "GET /info", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.engine)
			defer server.Close()
			got := CheckDockerHost(t.Context(), "tcp://"+server.Listener.Addr().String())
			if got.Level != c.level || !strings.Contains(got.Message, c.want) || got.IsInconclusive() != c.unknown || (got.Hint == "") != (c.level == OK) {
				t.Errorf("%+v, want %s: %s", got, c.level, c.want)
			}
		})
	}
	if got := CheckDockerHost(t.Context(), "unix:///var/run/docker.sock"); got.Level != Warning || got.IsInconclusive() {
		t.Errorf("%+v", got)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if got := CheckDockerHost(t.Context(), "tcp://"+ln.Addr().String()); got.Level != Error || !got.IsInconclusive() || !errors.Is(got.Err(), syscall.ECONNREFUSED) {
		t.Errorf("%+v", got)
	}
}

// faultyStorage is a storage that fails as it is told.
type faultyStorage struct {
	*certmagic.FileStorage
	storeErr   error
	loadedText string // what is read, if anything
}

func (f faultyStorage) Store(ctx context.Context, key string, value []byte) error {
	if f.storeErr != nil {
		return f.storeErr
	}
	return f.FileStorage.Store(ctx, key, value)
}

func (f faultyStorage) Load(ctx context.Context, key string) ([]byte, error) {
	if f.loadedText != "" {
		return []byte(f.loadedText), nil
	}
	return f.FileStorage.Load(ctx, key)
}

func TestStorageCheckReportsFailures(t *testing.T) {
	files := &certmagic.FileStorage{Path: t.TempDir()}
	if got := CheckStorage(t.Context(), files); got.Level != OK || got.Err() != nil {
		t.Errorf("%+v", got)
	}
	if left, err := files.List(t.Context(), storageTestDir, true); err == nil && len(left) > 0 {
		t.Errorf("it left %v behind", left)
	}
	var all sync.WaitGroup
	for range 8 { // edges that start at once
		all.Go(func() {
			if got := CheckStorage(t.Context(), files); got.Level != OK {
				t.Errorf("beside others: %+v", got)
			}
		})
	}
	all.Wait()
	for _, c := range []struct {
		storage    certmagic.Storage
		want, hint string
	}{
		{faultyStorage{files, &fs.PathError{Op: "open", Path: "/data/x", Err: syscall.EACCES}, ""}, "open /data/x: permission denied", "chown"},
		{faultyStorage{files, syscall.EROFS, ""}, "read-only file system", "chown"},
		{faultyStorage{files, syscall.ENOSPC, ""}, "no space left", "docker system df"},
		{faultyStorage{files, errors.New("password authentication failed"), ""}, "password authentication failed", "accept the edge's user"},
		{faultyStorage{files, nil, "rubbish"}, `reads as "rubbish"`, "can the edge reach it"},
	} {
		got := CheckStorage(t.Context(), c.storage)
		if got.Level != Error || !strings.Contains(got.Message, c.want) || !strings.Contains(got.Hint, c.hint) {
			t.Errorf("%+v, want %s; hint: %s", got, c.want, c.hint)
		}
		if err := got.Err(); !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%v has no hint", err)
		}
	}
	for _, full := range []error{syscall.ENOSPC, &pgconn.PgError{Code: "53100"}} {
		if got := CheckStorage(t.Context(), faultyStorage{files, full, ""}); !IsStorageFull(got.Err()) {
			t.Errorf("%v doesn't say that the disk is full", got.Err())
		}
	}
}
