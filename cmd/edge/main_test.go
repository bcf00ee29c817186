package main

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"edge": main})
}

// TestScripts runs the scripts testdata/*.txtar, which use the commands as a user at a terminal does.
func TestScripts(t *testing.T) {
	compat, err := filepath.Abs(filepath.Join("..", "..", "tests", "testdata", "compat"))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir) // Caddy keeps its data there
			env.Setenv("EDGE_ADMIN", "")
			env.Setenv("COMPAT", compat)
			return nil
		},
	})
}
