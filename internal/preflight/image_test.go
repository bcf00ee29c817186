package preflight

import "testing"

func TestImageThatIsNotPulledNeedsNoVersion(t *testing.T) {
	for name, change := range map[string]func(w *fakeHost){
		"this project's":  func(w *fakeHost) { w.service("app")["image"] = "edge:dev" },
		"never pulled":    func(w *fakeHost) { w.service("app")["image"], w.service("app")["pull_policy"] = "app", "never" },
		"built elsewhere": func(w *fakeHost) { w.service("app")["image"] = "app"; w.dockerOutputs["image inspect"] = "[]" },
	} {
		w := newFakeHost(t)
		delete(w.service("edge"), "build")
		change(w)
		for _, f := range w.newCheck(t).Run(t.Context()) {
			if f.Check == "image" && f.Level != OK {
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
	w := newFakeHost(t)
	w.service("app")["image"] = "example/app"
	w.dockerOutputs["image inspect"] = `["example/app@sha256:abc"]`
	expectFinding(t, w.newCheck(t).Run(t.Context()), "image", Warning, "app: each pull of example/app can bring another version", "example/app:1.2.3")
}

func TestTagOfIsTheDigestOrTheTag(t *testing.T) {
	for image, want := range map[string]string{
		"app": "", "app:1": "1", "host:5000/app": "", "host:5000/app:2": "2", "app@sha256:abc": "sha256:abc", "app:1@sha256:abc": "sha256:abc",
	} {
		if got := tagOf(image); got != want {
			t.Errorf("%s: got %q, want %q", image, got, want)
		}
	}
}
