// Package socketio runs real socket.io clients through an edge: one that gets its messages back, or a fleet of hundreds of both
// versions, with a record of what happens to their sessions.
package socketio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"sync"
	"time"
)

// FleetOptions configure a fleet.
type FleetOptions struct {
	URL        string        // of the proxy: http://HOST:PORT
	V2, V4     int           // numbers of clients of socket.io 2 and 4
	Transports string        // separated by commas; "": polling, and an upgrade to a WebSocket
	Cookies    bool          // whether clients keep cookies
	Every      time.Duration // mean interval between the messages of a client; 0: 2s
	Ramp       time.Duration // the time over which clients start
}

// Fleet is a number of running clients. It is safe for concurrent use.
type Fleet struct {
	input io.WriteCloser
	ended chan struct{} // closed when the program has ended, with err
	err   error

	mu       sync.Mutex
	events   map[string][]Event
	sessions map[string]Event // by client: the open event of its session
	answered map[string]bool  // clients that got an answer since ResetAnswered
}

// StartFleet runs fleet.js. The fleet runs until [Fleet.Stop].
func StartFleet(o FleetOptions) (*Fleet, error) {
	cmd, err := nodeCommand("fleet.js", o.args()...)
	if err != nil {
		return nil, err
	}
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

func (o FleetOptions) args() []string {
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

// read records events until the program ends.
func (f *Fleet) read(output io.Reader) error {
	for lines := json.NewDecoder(output); ; {
		var e Event
		switch err := lines.Decode(&e); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			_, _ = io.Copy(io.Discard, output) // otherwise the program would block on its output
			return fmt.Errorf("read the fleet's events: %w", err)
		}
		f.record(e)
	}
}

// Stop ends the clients and returns how many messages they have sent, and how many of them were answered.
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

func (f *Fleet) record(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events[e.Kind] = append(f.events[e.Kind], e)
	switch e.Kind {
	case Open:
		f.sessions[e.Client] = e
	case Closed:
		delete(f.sessions, e.Client)
	case Answered:
		f.answered[e.Client] = true
	}
}

// Events returns the events of one kind, in order.
func (f *Fleet) Events(kind string) []Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.events[kind][:len(f.events[kind]):len(f.events[kind])]
}

// Sessions returns the Open events of the current sessions, by client.
func (f *Fleet) Sessions() map[string]Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.sessions)
}

// ResetAnswered sets [Fleet.AnsweredCount] to 0.
func (f *Fleet) ResetAnswered() error {
	f.mu.Lock()
	clear(f.answered)
	f.mu.Unlock()
	return f.sendCommand("mark")
}

// AnsweredCount returns how many clients got an answer to a message that they have sent since ResetAnswered.
func (f *Fleet) AnsweredCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.answered)
}

// Pause makes the clients keep back their requests. An Idle event follows when no request is in flight, after about FleetOptions.Every. It
// is for clients that poll.
func (f *Fleet) Pause() error { return f.sendCommand("pause") }

// Resume sends what Pause has kept back.
func (f *Fleet) Resume() error { return f.sendCommand("resume") }

func (f *Fleet) sendCommand(command string) error {
	if _, err := io.WriteString(f.input, command+"\n"); err != nil {
		return fmt.Errorf("send the command %s to the fleet: %w", command, err)
	}
	return nil
}
