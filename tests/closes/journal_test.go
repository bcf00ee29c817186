package closes

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
)

// entry is what a server has noted of a request.
type entry struct {
	times    int  // that it was carried out
	isReused bool // it was not the first one on its connection
}

// journal is the file in which a server notes each request that it carries out: "ID N", the request's ID, and which request on its connection it
// was. The file is kept when the server is killed.
type journal struct {
	path  string
	first int // the N of the first request on a connection

	mu          sync.Mutex
	file        *bufio.Reader
	part        string // of a line that was not whole yet
	entries     map[string]entry
	connections int
}

func newJournal(t *testing.T, path string, first int) *journal {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return &journal{path: path, first: first, file: bufio.NewReader(file), entries: make(map[string]entry)}
}

// update reads what the server has written since the last call.
func (j *journal) update() error {
	for {
		text, err := j.file.ReadString('\n')
		j.part += text
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		line := j.part
		j.part = ""
		var id string
		var n int
		if _, err := fmt.Sscan(strings.TrimPrefix(line, "?id="), &id, &n); err != nil {
			return fmt.Errorf("%s has %q: %w", j.path, line, err)
		}
		e := j.entries[id]
		e.times++
		e.isReused = n > j.first
		j.entries[id] = e
		if !e.isReused {
			j.connections++
		}
	}
}

// get returns what is noted of a request.
func (j *journal) get(id string) (entry, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.update()
	return j.entries[id], err
}

// count returns on how many connections requests came.
func (j *journal) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.connections
}
