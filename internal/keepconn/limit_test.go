package keepconn

import (
	"io"
	"strings"
	"testing"
)

// limitedTo notes the type of what it reads from.
type limitedTo struct {
	strings.Builder
	depth int
}

func (l *limitedTo) ReadFrom(r io.Reader) (int64, error) {
	for limit, ok := r.(*io.LimitedReader); ok; limit, ok = limit.R.(*io.LimitedReader) {
		l.depth++
	}
	return io.Copy(&l.Builder, r)
}

func TestSeveralLimitsBecomeOne(t *testing.T) {
	for _, c := range []struct {
		limits []int64
		want   string
		depth  int
	}{
		{nil, "abcdef", 0},
		{[]int64{4}, "abcd", 1},
		{[]int64{2, 4}, "ab", 1},
		{[]int64{4, 2}, "ab", 1},
		{[]int64{9, 8, 7}, "abcdef", 1},
		{[]int64{0, 3}, "", 1},
	} {
		var r io.Reader = strings.NewReader("abcdef")
		var all []*io.LimitedReader
		for _, n := range c.limits {
			limit := &io.LimitedReader{R: r, N: n}
			all, r = append(all, limit), limit
		}
		to := new(limitedTo)
		n, err := readLimited(to, r)
		if err != nil || n != int64(len(c.want)) || to.String() != c.want || to.depth != c.depth {
			t.Errorf("limits %v: %d bytes, %q, depth %d, %v; want %q, depth %d", c.limits, n, to.String(), to.depth, err, c.want, c.depth)
		}
		for i, limit := range all {
			if limit.N != c.limits[i]-n {
				t.Errorf("limits %v: %d are left of %d, want %d", c.limits, limit.N, c.limits[i], c.limits[i]-n)
			}
		}
	}
}
