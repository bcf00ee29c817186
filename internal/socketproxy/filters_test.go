package socketproxy

import "testing"

func TestOnlyFiltersByIDAreForwarded(t *testing.T) {
	for filters, ok := range map[string]bool{
		`{"id":{"3fc1":true}}`:             true,
		`{"id":["3fc1"]}`:                  true,
		`{}`:                               true,
		`{"label":{"token=hunter2":true}}`: false,
		`{"id":{"3fc1":true},"volume":{"/etc":true}}`: false,
		`{"ancestor":["secret"]}`:                     false,
		`{"publish":["22"]}`:                          false,
		`[]`:                                          false,
		`no json`:                                     false,
	} {
		if got := filtersOnlyBy(filters, "id"); got != ok {
			t.Errorf("filtersOnlyBy(%s, id): %t, want %t", filters, got, ok)
		}
	}
}
