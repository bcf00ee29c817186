package cmd

import (
	"os"
	"testing"
)

func TestTracesIdentifyTheEdge(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for before, want := range map[string]string{
		"":                       "service.instance.id=" + host,
		"service.namespace=shop": "service.namespace=shop,service.instance.id=" + host,
		"service.instance.id=one,deployment.key=1": "service.instance.id=one,deployment.key=1",
	} {
		t.Setenv("OTEL_RESOURCE_ATTRIBUTES", before)
		IdentifyInTraces()
		if got := os.Getenv("OTEL_RESOURCE_ATTRIBUTES"); got != want {
			t.Errorf("%q becomes %q, want %q", before, got, want)
		}
	}
}
