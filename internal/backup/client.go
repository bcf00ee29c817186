package backup

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/hint"
)

// client is a database's own client program in its container, which keeps one connection open: a snapshot lasts only as long as the session
// that has it. It is not safe for concurrent use.
type client struct {
	service string
	endMark string // the statement that prints endLine
	input   *os.File
	lines   *bufio.Scanner
	output  *io.PipeReader
	timeout time.Duration // of a statement
	cancel  context.CancelCauseFunc
	ended   chan struct{} // closed when the program has exited
	err     error         // of its exit; set before ended is closed
}

// endLine is printed after the output of each statement.
const endLine = "--edge-end--"

const (
	// queryTimeout is longer than counting the rows of a large table takes, after a restore, when nothing of it is in memory.
	queryTimeout = 12 * time.Hour
	// lockTimeout is how long a backup waits for a lock: for that of a statement that changes a table, which itself waits for a transaction that nobody ends.
	lockTimeout = 10 * time.Minute
)

// openClient starts a client program by a shell script. endMark is the statement that has it print endLine.
func (c *container) openClient(ctx context.Context, script, endMark string) (*client, error) {
	inputReader, input, err := os.Pipe() // the command reads a file by itself, and ends without a reader of ours
	if err != nil {
		return nil, err
	}
	output, outputWriter := io.Pipe()
	ctx, cancel := context.WithCancelCause(ctx)
	cl := &client{
		service: c.service, endMark: endMark, input: input, output: output, lines: bufio.NewScanner(output),
		timeout: queryTimeout, cancel: cancel, ended: make(chan struct{}),
	}
	cl.lines.Buffer(nil, 1<<20)
	go func() {
		defer close(cl.ended)
		defer cancel(nil)
		_, cl.err = c.run(ctx, inputReader, outputWriter, script)
		_ = inputReader.Close()
		_ = outputWriter.Close()
	}()
	return cl, nil
}

// query runs a statement, which ends with a semicolon unless it is a command of the replication protocol, and returns the lines that it
// prints.
func (cl *client) query(statement string) ([]string, error) {
	timeout := time.AfterFunc(cl.timeout, func() {
		cl.cancel(hint.New(fmt.Errorf("%s has not answered within %v: %s", cl.service, cl.timeout, statement),
			"see what it waits for: SHOW FULL PROCESSLIST in MariaDB, SELECT * FROM pg_stat_activity in PostgreSQL"))
	})
	defer timeout.Stop()
	if _, err := io.WriteString(cl.input, statement+"\n"+cl.endMark+"\n"); err != nil {
		return nil, cl.exitError()
	}
	var lines []string
	for cl.lines.Scan() {
		if cl.lines.Text() == endLine {
			return lines, nil
		}
		lines = append(lines, cl.lines.Text())
	}
	return nil, cl.exitError()
}

// queryRow runs a statement that prints one row, and returns its columns.
func (cl *client) queryRow(statement string) ([]string, error) {
	lines, err := cl.query(statement)
	switch {
	case err != nil:
		return nil, err
	case len(lines) != 1:
		return nil, fmt.Errorf("%s: %s: got %d rows, want one", cl.service, statement, len(lines))
	}
	return strings.Split(lines[0], "\t"), nil
}

// exitError returns why the client program has exited.
func (cl *client) exitError() error {
	_ = cl.output.Close()
	<-cl.ended
	if cl.err == nil {
		return fmt.Errorf("%s: the client program has exited", cl.service)
	}
	return cl.err
}

// close ends the session.
func (cl *client) close() error {
	_ = cl.input.Close()
	_, _ = io.Copy(io.Discard, cl.output)
	<-cl.ended
	return cl.err
}
