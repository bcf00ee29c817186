package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// withTestRoutes serves the test routes, and calls next for all other paths. Each has the paths /_test/NAME and /api/NAME; the latter
// is for proxies that forward only /api.
//
//	echo                    any method: the request as it arrived, as JSON
//	upload                  POST, PUT: counts and hashes the body while it streams in
//	download?bytes=N        streams N bytes
//	events?interval=&count= server-sent events "data: 1", "data: 2", …; count=0 goes on until either side leaves
//	slow?d=130s             sends its first byte after d
//	websocket               echoes every message
//
// /_test/behaviour and /_test/health are in behaviour.go.
func (b *backend) withTestRoutes(next http.Handler) http.Handler {
	routes := map[string]http.HandlerFunc{
		"echo":      b.echo,
		"upload":    upload,
		"download":  download,
		"events":    b.events,
		"slow":      slow,
		"websocket": b.websocket,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutPrefix(r.URL.Path, "/_test/")
		if !ok {
			name, ok = strings.CutPrefix(r.URL.Path, "/api/")
		}
		route := routes[name]
		if !ok || route == nil {
			next.ServeHTTP(w, r)
			return
		}
		route(w, r)
	})
}

func (b *backend) echo(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, map[string]any{
		"name": b.name, "role": b.role,
		"method": r.Method, "uri": r.RequestURI, "host": r.Host, "proto": r.Proto, "remote": r.RemoteAddr,
		"headers": r.Header, "bodyBytes": n,
	})
}

func upload(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost && r.Method != http.MethodPut {
		w.Header().Set("Allow", "POST, PUT")
		http.Error(w, "upload wants POST or PUT", http.StatusMethodNotAllowed)
		return
	}
	hash := sha256.New()
	n, err := io.Copy(hash, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, map[string]any{"bytes": n, "sha256": hex.EncodeToString(hash.Sum(nil))})
}

func download(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
	if err != nil || n < 0 {
		http.Error(w, "bytes must be a number, 0 or more", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10)) // so that a client notices an incomplete body
	chunk := make([]byte, 32<<10)
	for n > 0 {
		written, err := w.Write(chunk[:min(n, int64(len(chunk)))])
		if err != nil {
			return
		}
		n -= int64(written)
	}
}

func (b *backend) events(w http.ResponseWriter, r *http.Request) {
	interval, err := time.ParseDuration(cmp.Or(r.URL.Query().Get("interval"), "200ms"))
	if err != nil || interval <= 0 {
		http.Error(w, "interval must be a duration above 0", http.StatusBadRequest)
		return
	}
	count, err := strconv.Atoi(cmp.Or(r.URL.Query().Get("count"), "10"))
	if err != nil || count < 0 {
		http.Error(w, "count must be a number, 0 or more", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for n := 1; count == 0 || n <= count; n++ {
		if _, err := fmt.Fprintf(w, "data: %d\n\n", n); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		if n == count {
			return
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		case <-b.stopping.Done():
			return
		}
	}
}

func slow(w http.ResponseWriter, r *http.Request) {
	d, err := time.ParseDuration(cmp.Or(r.URL.Query().Get("d"), "1s"))
	if err != nil {
		http.Error(w, "d must be a duration", http.StatusBadRequest)
		return
	}
	// net/http notices that a client leaves only after the body was read.
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	select {
	case <-time.After(d):
		fmt.Fprintln(w, "slow", d)
	case <-r.Context().Done():
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // it fails only if the client has left
}
