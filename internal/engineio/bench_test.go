package engineio_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/engineio"
)

// BenchmarkParse measures the cost for every request, and for the requests of a session.
func BenchmarkParse(b *testing.B) {
	for _, q := range []struct{ name, query string }{
		{"request=none", ""},
		{"request=another", "page=2&page_size=100&filter%5Bname%5D=%C3%BC+b&sort=-date"},
		{"request=poll", v4Poll},
	} {
		b.Run(q.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				engineio.Parse(q.query)
			}
		})
	}
}

// filledTable returns a table with the given number of sessions, and their sids.
func filledTable(b *testing.B, sessions int) (*engineio.Table, []string) {
	b.Helper()
	table := engineio.NewTable(sessions)
	sids := make([]string, sessions)
	for i := range sids {
		sids[i] = fmt.Sprintf("%020d", i)
		table.Learn(serviceName, sids[i], firstEndpoint, time.Hour)
	}
	return table, sids
}

// BenchmarkLookup shows that the cost does not depend on the number of sessions, except for the processor's cache.
func BenchmarkLookup(b *testing.B) {
	for _, sessions := range []int{100, engineio.DefaultLimit} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			table, sids := filledTable(b, sessions)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, ok := table.Lookup(serviceName, sids[i]); !ok {
					b.Fatal("a session is missing")
				}
				i = (i + 7919) % len(sids)
			}
		})
	}
}

// BenchmarkLearn uses a full table: each new session evicts the oldest.
func BenchmarkLearn(b *testing.B) {
	table, _ := filledTable(b, engineio.DefaultLimit)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		table.Learn(serviceName, fmt.Sprintf("another %012d", i), firstEndpoint, time.Minute)
		i++
	}
}

// BenchmarkReadHandshake measures the cost for each session, in the form that current servers send.
func BenchmarkReadHandshake(b *testing.B) {
	body := readCapture(b, "v4-text")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := engineio.ReadHandshake(body); err != nil {
			b.Fatal(err)
		}
	}
}
