package compose

import (
	"strings"
	"testing"
)

func TestProjectArgsMatchComposeFlags(t *testing.T) {
	p := Project{Name: "shop", Directory: "dir", Files: []string{"a", "b"}, EnvFiles: []string{".env"}, Profiles: []string{"x"}}
	want := "compose --project-name shop --project-directory dir --file a --file b --env-file .env --profile x up"
	if got := strings.Join(p.Args("up"), " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := strings.Join(Project{}.Args("up"), " "); got != "compose up" {
		t.Errorf("the zero project: got %s", got)
	}
}
