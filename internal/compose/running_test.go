package compose_test

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/theworklabs/edge/internal/compose"
)

// fakeDocker answers every command with the same output.
type fakeDocker struct {
	output string
	err    error
}

func (d fakeDocker) Run(context.Context, ...string) (string, string, error) {
	return d.output, "", d.err
}

func TestRunningProjectReadsTheLabels(t *testing.T) {
	for _, c := range []struct {
		docker   fakeDocker
		selected compose.Project
		want     compose.Project
		ok       bool
	}{
		{fakeDocker{output: "/srv/shop\t/srv/shop/compose.yaml,/srv/shop/more.yaml\t\n/srv/old\t/srv/old/compose.yaml\t\n"}, compose.Project{}, compose.Project{
			Directory: "/srv/shop", Files: []string{"/srv/shop/compose.yaml", "/srv/shop/more.yaml"},
		}, true},
		{fakeDocker{output: "/srv/shop\t/srv/shop/compose.yaml\t/etc/a.env,/etc/b.env\n"}, compose.Project{Directory: "/mine"}, compose.Project{
			Directory: "/mine", Files: []string{"/srv/shop/compose.yaml"}, EnvFiles: []string{"/etc/a.env", "/etc/b.env"},
		}, true},
		{fakeDocker{output: "/srv/shop\t/srv/shop/compose.yaml\t/etc/a.env\n"}, compose.Project{EnvFiles: []string{"mine.env"}}, compose.Project{
			Directory: "/srv/shop", Files: []string{"/srv/shop/compose.yaml"}, EnvFiles: []string{"mine.env"},
		}, true},
		{fakeDocker{output: ""}, compose.Project{}, compose.Project{}, false},
		{fakeDocker{output: "\t\t\n"}, compose.Project{}, compose.Project{}, false}, // not created by Compose 2
		{fakeDocker{err: errors.New("no Engine")}, compose.Project{}, compose.Project{}, false},
	} {
		c.selected.Name, c.want.Name = "shop", "shop"
		if got, ok := compose.RunningProject(t.Context(), c.docker, c.selected); ok != c.ok || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v, %+v: got %+v, %t; want %+v, %t", c.docker, c.selected, got, ok, c.want, c.ok)
		}
	}
}
