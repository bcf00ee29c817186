// Package dblog has what databases write to their logs after a backup, in pieces: MariaDB's binary log and PostgreSQL's write-ahead log. With
// the pieces that follow a backup, its data can be rolled forward to any time.
//
// It knows nothing of the databases themselves: a log is a sequence of files, whose names have the order in which they are written.
package dblog

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Position is a place in a log: so many bytes after the beginning of a file.
type Position struct {
	File   string
	Offset int64
}

// Compare returns a negative number if p comes before other in the log, 0 if it is the same, and a positive number if it comes after.
func (p Position) Compare(other Position) int {
	// The numbers of binlog.999999 and binlog.1000000 have different lengths.
	return cmp.Or(cmp.Compare(len(p.File), len(other.File)), cmp.Compare(p.File, other.File), cmp.Compare(p.Offset, other.Offset))
}

// String returns FILE:OFFSET.
func (p Position) String() string { return p.File + ":" + strconv.FormatInt(p.Offset, 10) }

// MarkSize is how many bytes before a position identify it, or less at the beginning of a file.
const MarkSize = 4096

// Span is a part of a database's log, as a stored snapshot has it.
type Span struct {
	// Chain is the same for spans without a gap between them. It changes when the log does not go on where the last span ended: because the
	// database was restored, or because the server has removed a file. It is empty for a backup, which has no span.
	Chain    string
	From, To Position
	// Mark is a hash of the bytes before To: see [MarkSize]. A log that was replaced by another one has other bytes there.
	Mark string
}

// String returns the span as [ParseSpan] reads it. It has no comma, so that it can be a tag of restic.
func (s Span) String() string {
	return strings.Join([]string{s.Chain, s.From.String(), s.To.String(), s.Mark}, ":")
}

// ParseSpan reads what [Span.String] returns.
func ParseSpan(text string) (Span, error) {
	f := strings.Split(text, ":")
	if len(f) != 6 {
		return Span{}, fmt.Errorf("%q is not a span of a log", text)
	}
	from, fromErr := strconv.ParseInt(f[2], 10, 64)
	to, toErr := strconv.ParseInt(f[4], 10, 64)
	if err := errors.Join(fromErr, toErr); err != nil {
		return Span{}, fmt.Errorf("%q is not a span of a log: %w", text, err)
	}
	return Span{Chain: f[0], From: Position{f[1], from}, To: Position{f[3], to}, Mark: f[5]}, nil
}

// Stored is a snapshot that has a span of a database's log.
type Stored struct {
	Snapshot string
	Until    time.Time // when the log was read: it has all that was committed before
	Span     Span
	// HasTrailer says that the archive must end with a trailer: without it, only the beginning was stored.
	HasTrailer bool
}

// IsContinued reports whether a later span begins where s ends. Spans continue only those that are known to be stored as a whole.
func IsContinued(all []Stored, s Stored) bool {
	return slices.ContainsFunc(all, func(other Stored) bool {
		return other.Snapshot != s.Snapshot && other.Until.After(s.Until) && other.Span.Chain == s.Span.Chain && other.Span.From == s.Span.To
	})
}

// ErrGap says that no spans lead from a position to a time.
var ErrGap = errors.New("the logs have a gap")

// EndError says that spans lead from a position to an earlier time than was asked for. It is an [ErrGap].
type EndError struct{ Reached time.Time }

// Error says until when the logs reach.
func (e *EndError) Error() string {
	return fmt.Sprintf("%v: they reach until %s", ErrGap, e.Reached.Format(time.RFC3339))
}

// Unwrap returns [ErrGap].
func (e *EndError) Unwrap() error { return ErrGap }

// Cover returns the fewest snapshots whose spans, one after the other, have the log from a position to a time. all are those of one database,
// and the position that of a backup that was completed at a time.
func Cover(all []Stored, from Position, backedUp, until time.Time) ([]Stored, error) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Stored) int { return a.Until.Compare(b.Until) })
	// A log that began anew after the backup may use the same names, but comes later.
	first := slices.IndexFunc(all, func(s Stored) bool {
		return s.Span.From.Compare(from) <= 0 && s.Span.To.Compare(from) >= 0 && !s.Until.Before(backedUp)
	})
	if first < 0 {
		return nil, fmt.Errorf("%w: nothing is stored of the log after the backup", ErrGap)
	}
	chain := all[first].Span.Chain
	all = slices.DeleteFunc(all, func(s Stored) bool { return s.Span.Chain != chain })

	var selected []Stored
	var reached time.Time
	for at := from; reached.Before(until); {
		best := -1
		for i, s := range all {
			isNext := s.Span.From.Compare(at) <= 0 && s.Span.To.Compare(at) >= 0 && s.Until.After(reached)
			if isNext && (best < 0 || s.Until.After(all[best].Until)) {
				best = i
			}
		}
		if best < 0 {
			return nil, &EndError{reached}
		}
		if all[best].Span.To != at {
			selected = append(selected, all[best])
		}
		at, reached = all[best].Span.To, all[best].Until
	}
	return selected, nil
}
