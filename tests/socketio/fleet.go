// Package socketio runs hundreds of real socket.io clients of both versions against a proxy, and tells what becomes of their
// sessions.
package socketio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// Options say what a fleet is.
type Options struct {
	URL        string        // of the proxy: http://HOST:PORT
	V2, V4     int           // how many clients of socket.io 2 and 4
	Transports string        // with commas; "" begins with polling and upgrades
	Cookies    bool          // whether clients keep cookies
	Every      time.Duration // about how often each says something; 0: 2s
	Ramp       time.Duration // in which time they start
}

// Fleet is running clients. It is safe for concurrent use.
type Fleet struct {
	input io.WriteCloser
	ended chan struct{} // closed when the program has ended, with err
	err   error

	mu       sync.Mutex
	events   map[string][]Event
	sessions map[string]Event // by client: the open event of its session
	answered map[string]bool  // clients that were answered since the last mark
}

// Start runs fleet.js of a directory, in which `npm ci` has been run. The fleet lasts until [Fleet.Stop].
func Start(dir string, o Options) (*Fleet, error) {
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		return nil, fmt.Errorf("the fleet's modules are not installed, run tests/setup: %w", err)
	}
	cmd := exec.Command("node", append([]string{"fleet.js"}, o.args()...)...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	f := &Fleet{
		ended: make(chan struct{}), events: make(map[string][]Event),
		sessions: make(map[string]Event), answered: make(map[string]bool),
	}
	if f.input, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the fleet: %w", err)
	}
	go func() {
		defer close(f.ended)
		readErr := f.read(output)
		if err := cmd.Wait(); err != nil {
			f.err = fmt.Errorf("the fleet: %w\n%s", err, &stderr)
			return
		}
		f.err = readErr
	}()
	return f, nil
}

func (o Options) args() []string {
	args := []string{o.URL, "--v2", strconv.Itoa(o.V2), "--v4", strconv.Itoa(o.V4)}
	if o.Transports != "" {
		args = append(args, "--transports", o.Transports)
	}
	if o.Cookies {
		args = append(args, "--cookies")
	}
	if o.Every > 0 {
		args = append(args, "--every", strconv.FormatInt(o.Every.Milliseconds(), 10))
	}
	return append(args, "--ramp", strconv.FormatInt(o.Ramp.Milliseconds(), 10))
}

// read takes in events until the program ends.
func (f *Fleet) read(output io.Reader) error {
	for lines := json.NewDecoder(output); ; {
		var e Event
		switch err := lines.Decode(&e); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			_, _ = io.Copy(io.Discard, output) // or the program would wait for a reader for ever
			return fmt.Errorf("read the fleet's events: %w", err)
		}
		f.record(e)
	}
}

// Stop ends the clients and returns how much they said, and how much of it was answered.
func (f *Fleet) Stop() (sent, answered int, err error) {
	closeErr := f.input.Close()
	<-f.ended
	if err := errors.Join(f.err, closeErr); err != nil {
		return 0, 0, err
	}
	total := f.Events(Total)
	if len(total) == 0 {
		return 0, 0, errors.New("the fleet ended without a total")
	}
	return total[0].Sent, total[0].Answered, nil
}
