package preflight

import "testing"

// TestDockerHostIsReadByBothNames: `endpoint` is the name of docker_host until 1.0.
func TestDockerHostIsReadByBothNames(t *testing.T) {
	const want = "tcp://docker-guard:2375"
	for _, text := range []string{
		`{"apps": {"edge": {"docker_host": "tcp://docker-guard:2375"}}}`,
		`{"apps": {"edge": {"endpoint": "tcp://docker-guard:2375"}}}`,
		`{"apps": {"edge": {"docker_host": "tcp://docker-guard:2375", "endpoint": "tcp://old:2375"}}}`,
	} {
		config, err := parseConfig([]byte(text))
		if err != nil || config.dockerHost != want {
			t.Errorf("%s: got %+v, %v", text, config, err)
		}
	}
}
