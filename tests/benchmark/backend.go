package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

// The paths of the backend.
const (
	bytesPath  = "/bytes" // responds with ?n= bytes
	waitPath   = "/wait"  // responds when the client has left
	socketPath = "/echo"  // a WebSocket that echoes
)

// maxEndpoints is at how many addresses the backend listens: 127.0.0.1, 127.0.0.2 and so on.
const maxEndpoints = 100

// runBackend serves at a port of all its addresses, until it is killed.
func runBackend(port string) error {
	all := make(chan error)
	for i := range maxEndpoints {
		ln, err := net.Listen("tcp", endpoint(i, port))
		if err != nil {
			return err
		}
		server := &http.Server{Handler: newBackend(), ReadHeaderTimeout: time.Minute}
		go func() { all <- server.Serve(ln) }()
	}
	fmt.Fprintln(os.Stderr, "the backend listens")
	return <-all
}

// endpoint returns an address of the backend.
func endpoint(i int, port string) string { return fmt.Sprintf("127.0.0.%d:%s", i+1, port) }

func newBackend() http.Handler {
	content := make([]byte, 10<<20)
	mux := http.NewServeMux()
	mux.HandleFunc(bytesPath, func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("n"))
		if err != nil || n < 0 || n > len(content) {
			http.Error(w, "n: want a number of bytes", http.StatusBadRequest)
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(n))
		_, _ = w.Write(content[:n])
	})
	mux.HandleFunc(waitPath, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc(socketPath, func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			kind, message, err := conn.Read(r.Context())
			if err == nil {
				err = conn.Write(r.Context(), kind, message)
			}
			if err != nil {
				return
			}
		}
	})
	return mux
}
