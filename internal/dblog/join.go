package dblog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Piece is a part of one file of a log.
type Piece struct {
	File     string
	From, To int64
}

// Name returns the name of the piece in an archive.
func (p Piece) Name() string { return p.File + "@" + strconv.FormatInt(p.From, 10) }

// ParsePiece reads the name and the size of an entry of an archive.
func ParsePiece(name string, size int64) (Piece, error) {
	file, offset, found := strings.Cut(name, "@")
	from, err := strconv.ParseInt(offset, 10, 64)
	if !found || err != nil {
		return Piece{}, fmt.Errorf("%q is not a piece of a log", name)
	}
	return Piece{file, from, from + size}, nil
}

// Pieces returns what has to be stored of a log: from a position to another one, with [MarkSize] bytes before it, so that a later piece shows that
// it belongs to the earlier one. files are those of the log, in their order, and their sizes.
func Pieces(files []Piece, from, to Position) ([]Piece, error) {
	var pieces []Piece
	for _, f := range files {
		isFirst, isLast := f.File == from.File, f.File == to.File
		if (Position{f.File, 0}).Compare(Position{from.File, 0}) < 0 || (Position{f.File, 0}).Compare(Position{to.File, 0}) > 0 {
			continue
		}
		p := Piece{f.File, 0, f.To}
		if isFirst {
			p.From = max(0, from.Offset-MarkSize)
		}
		if isLast {
			p.To = to.Offset
		}
		if p.To > f.To {
			return nil, fmt.Errorf("%s has %d bytes, and is to have %d", f.File, f.To, p.To)
		}
		if len(pieces) == 0 && !isFirst {
			return nil, fmt.Errorf("%w: the server no longer has %s", ErrGap, from.File)
		}
		pieces = append(pieces, p)
	}
	if len(pieces) == 0 || pieces[len(pieces)-1].File != to.File {
		return nil, fmt.Errorf("%w: the server has no %s", ErrGap, to.File)
	}
	return pieces, nil
}

// MarkOf returns the hash of the last [MarkSize] bytes of a file's beginning.
func MarkOf(beginning []byte) string {
	sum := sha256.Sum256(beginning[max(0, len(beginning)-MarkSize):])
	return hex.EncodeToString(sum[:8])
}

// Tail keeps the last [MarkSize] bytes that are written to it.
type Tail struct{ last []byte }

// Write implements io.Writer.
func (t *Tail) Write(b []byte) (int, error) {
	if t.last = append(t.last, b[max(0, len(b)-MarkSize):]...); len(t.last) > 4*MarkSize {
		t.last = append(t.last[:0], t.last[len(t.last)-MarkSize:]...)
	}
	return len(b), nil
}

// Reset forgets what was written: another file begins.
func (t *Tail) Reset() { t.last = t.last[:0] }

// Bytes returns the last [MarkSize] bytes, or less if not so many were written.
func (t *Tail) Bytes() []byte { return t.last[max(0, len(t.last)-MarkSize):] }

// Joiner joins pieces, which may overlap, to the files of a log.
type Joiner struct {
	// Append gets what follows what it has got of a file. The first call for a file begins it.
	Append func(file string, size int64, content io.Reader) error

	file string
	size int64 // of the file
	tail Tail  // of the file
}

// End returns where the joined log ends.
func (j *Joiner) End() Position { return Position{j.file, j.size} }

// ErrOtherLog says that a piece is not of the log whose pieces came before.
var ErrOtherLog = errors.New("it is of another log")

// Add adds a piece. Pieces come in the order of the log.
func (j *Joiner) Add(p Piece, content io.Reader) error {
	if p.File != j.file {
		if (Position{p.File, 0}).Compare(Position{j.file, 0}) < 0 {
			return nil // the joined files go further already
		}
		if p.From > 0 {
			return fmt.Errorf("%s: %w: its first %d bytes are missing", p.File, ErrGap, p.From)
		}
		j.file, j.size = p.File, 0
		j.tail.Reset()
	}
	if p.From > j.size {
		return fmt.Errorf("%s: %w between %d and %d", p.File, ErrGap, j.size, p.From)
	}
	if p.To <= j.size {
		return nil
	}
	// Those bytes that are there already must be the same, as far as they are known.
	known := j.tail.Bytes()
	overlap := j.size - p.From
	if unknown := overlap - int64(len(known)); unknown > 0 {
		if _, err := io.CopyN(io.Discard, content, unknown); err != nil {
			return fmt.Errorf("%s: %w", p.Name(), err)
		}
		overlap -= unknown
	}
	again := make([]byte, overlap)
	if _, err := io.ReadFull(content, again); err != nil {
		return fmt.Errorf("%s: %w", p.Name(), err)
	}
	if !bytes.Equal(again, known[int64(len(known))-overlap:]) {
		return fmt.Errorf("%s: %w", p.Name(), ErrOtherLog)
	}
	count := p.To - j.size
	if err := j.Append(p.File, count, io.TeeReader(io.LimitReader(content, count), &j.tail)); err != nil {
		return err
	}
	j.size = p.To
	return nil
}
