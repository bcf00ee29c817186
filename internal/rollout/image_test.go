package rollout

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/compose"
)

func TestImagesArePulledOrBuiltAsByComposeUp(t *testing.T) {
	for name, c := range map[string]struct {
		image, policy, flag string
		build, canBuild     bool
		want                string // the command, or error: and a part of the error
	}{
		"local":                           {webImage, "", "", false, false, ""},
		"missing":                         {"web:2", "", "", false, false, "pull web"},
		"always":                          {webImage, "always", "", false, false, "pull web"},
		"always, but --pull never":        {webImage, "always", "never", false, false, ""},
		"missing and never pulled":        {"web:2", "never", "", false, false, "error: image web:2 is not on this machine"},
		"missing and not in the registry": {"local/web:2", "", "", false, false, "error: pull access denied"},
		"local and not in the registry":   {"local/web:1", "", "always", false, false, "error: pull access denied | --no-pull takes the image that is here"},
		"missing and can be built":        {"web:2", "", "", false, true, "build web"},
		"local and can be built":          {webImage, "", "", false, true, ""},
		"local and --build":               {webImage, "", "", true, true, "build web"},
		"always built":                    {webImage, "build", "", false, true, "build web"},
		"without a name":                  {"", "", "", false, true, "build web"},
	} {
		t.Run(name, func(t *testing.T) {
			runTestRollout(t, 1, func(w *fakeHost, r *Rollout, _ context.CancelFunc) {
				s := &compose.Service{Image: c.image, PullPolicy: c.policy}
				if c.canBuild {
					s.Build = json.RawMessage(`{"context": "."}`)
				}
				w.services["web"], r.Pull, r.Build = s, c.flag, c.build
				w.imageIDs["local/web:1"] = "sha256:1"
			}, func(t *testing.T, a *testRollout) {
				if text, isError := strings.CutPrefix(c.want, "error: "); isError {
					a.checkFailed(t, text)
					a.checkVersions(t, "old")
					return
				}
				a.checkSucceeded(t, "new")
				got := append(a.commandsWith("compose pull"), a.commandsWith("compose build")...)
				if strings.TrimPrefix(strings.Join(got, "; "), "docker ") != strings.TrimSpace("compose "+c.want) && !(c.want == "" && len(got) == 0) {
					t.Errorf("got commands %q, want %q", got, c.want)
				}
			})
		})
	}
}

// TestImageThatIsRemovedMeanwhileIsPulled removes the image after the rollout was planned.
func TestImageThatIsRemovedMeanwhileIsPulled(t *testing.T) {
	runTestRollout(t, 1, func(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
		inspections := 0
		w.onCommand = func(_ int, cmd string) {
			if strings.HasPrefix(cmd, "image inspect") {
				if inspections++; inspections == 2 {
					delete(w.imageIDs, webImage)
				}
			}
		}
	}, func(t *testing.T, a *testRollout) {
		a.checkSucceeded(t, "new")
		if got := a.commandsWith("compose pull"); len(got) != 1 {
			t.Errorf("got commands %q, want one that pulls the image", got)
		}
	})
}
