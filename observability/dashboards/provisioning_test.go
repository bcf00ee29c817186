package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestTheDataSourcesAreThere: Grafana gets the data source that each panel names, and reads the dashboards where compose.observability.yaml mounts them.
func TestTheDataSourcesAreThere(t *testing.T) {
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct{ Name, UID, Type, URL string }
	}
	decode(t, "datasources/edge.yaml", &sources)
	known := make(map[string]string)
	for _, s := range sources.Datasources {
		known[s.UID] = s.Type
		if s.Name == "" || s.URL == "" {
			t.Errorf("a data source has no name or no URL: %+v", s)
		}
	}
	of := source()
	if sources.APIVersion != 1 || known[*of.Uid] != *of.Type {
		t.Errorf("the panels use %s, of type %s, and there are %v", *of.Uid, *of.Type, known)
	}
	var providers struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Type    string
			Options struct{ Path string }
		}
	}
	decode(t, "dashboards/edge.yaml", &providers)
	overlay, err := os.ReadFile("../../compose.observability.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const mounted = "/etc/grafana/provisioning"
	if !bytes.Contains(overlay, []byte("- ./observability/grafana:"+mounted+":ro")) {
		t.Errorf("compose.observability.yaml does not mount the files at %s", mounted)
	}
	if len(providers.Providers) != 1 || providers.Providers[0].Type != "file" || providers.Providers[0].Options.Path != mounted+"/dashboards" {
		t.Errorf("the dashboards are read from %+v", providers)
	}
}

// decode reads a file of Grafana's provisioning, which may have other fields, too.
func decode(t *testing.T, name string, to any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "grafana", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, to); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
