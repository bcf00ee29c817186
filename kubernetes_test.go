package edge_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8syaml "sigs.k8s.io/yaml"
)

// manifest is an object of deploy/kubernetes.
type manifest struct {
	file   string
	object any
}

// manifestKinds are the kinds that the manifests have.
var manifestKinds = map[string]func() any{
	"Deployment": func() any { return new(appsv1.Deployment) }, "StatefulSet": func() any { return new(appsv1.StatefulSet) }, "Job": func() any { return new(batchv1.Job) },
	"Service": func() any { return new(corev1.Service) }, "ServiceAccount": func() any { return new(corev1.ServiceAccount) }, "ConfigMap": func() any { return new(corev1.ConfigMap) },
	"PersistentVolumeClaim": func() any { return new(corev1.PersistentVolumeClaim) }, "NetworkPolicy": func() any { return new(networkingv1.NetworkPolicy) },
	"PodDisruptionBudget": func() any { return new(policyv1.PodDisruptionBudget) }, "Role": func() any { return new(rbacv1.Role) }, "RoleBinding": func() any { return new(rbacv1.RoleBinding) },
}

// readManifests decodes all manifests. A field that its kind does not have fails the test.
func readManifests(t *testing.T) (all []manifest) {
	t.Helper()
	var files []string
	for _, pattern := range []string{"base/*.yaml", "databases/*.yaml", "overlays/*/*.yaml"} {
		some, err := filepath.Glob("deploy/kubernetes/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, some...)
	}
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range bytes.Split(text, []byte("\n---\n")) {
			var meta metav1.TypeMeta
			if err := k8syaml.Unmarshal(part, &meta); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			newObject := manifestKinds[meta.Kind]
			if newObject == nil {
				t.Errorf("%s: unknown kind %q", file, meta.Kind)
				continue
			}
			object := newObject()
			if err := k8syaml.UnmarshalStrict(part, object); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			all = append(all, manifest{file, object})
		}
	}
	if len(all) < 40 {
		t.Fatalf("found %d manifests", len(all))
	}
	return all
}

// podSpec returns the pods of an object; nil if it has none.
func podSpec(object any) *corev1.PodTemplateSpec {
	switch o := object.(type) {
	case *appsv1.Deployment:
		return &o.Spec.Template
	case *appsv1.StatefulSet:
		return &o.Spec.Template
	case *batchv1.Job:
		return &o.Spec.Template
	}
	return nil
}

// TestKubernetesManifestsAreSound reads the manifests as the API server would, and checks what holds for all of them.
func TestKubernetesManifestsAreSound(t *testing.T) {
	services := make(map[string]bool)
	for _, m := range readManifests(t) {
		if s, ok := m.object.(*corev1.Service); ok {
			services[s.Name] = true
		}
		pods := podSpec(m.object)
		if pods == nil {
			continue
		}
		name := pods.Labels["app.kubernetes.io/name"]
		if token := pods.Spec.AutomountServiceAccountToken; name != "edge" && (token == nil || *token) {
			t.Errorf("%s: %s has a token of the API server that it does not need", m.file, name)
		}
		if pods.Spec.SecurityContext == nil || pods.Spec.SecurityContext.SeccompProfile == nil {
			t.Errorf("%s: %s has no seccomp profile", m.file, name)
		}
		if !slices.ContainsFunc([]string{"infrastructure", "data", "pdf", "storage"}, func(n string) bool { return pods.Labels["edge.network/"+n] == "true" }) {
			t.Errorf("%s: %s is on no network: no policy lets it connect", m.file, name)
		}
		for _, c := range slices.Concat(pods.Spec.InitContainers, pods.Spec.Containers) {
			context := c.SecurityContext
			if context == nil || context.AllowPrivilegeEscalation == nil || *context.AllowPrivilegeEscalation || context.Capabilities == nil || !slices.Contains(context.Capabilities.Drop, "ALL") {
				t.Errorf("%s: %s/%s may gain privileges", m.file, name, c.Name)
			}
			if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Memory().IsZero() {
				t.Errorf("%s: %s/%s has no limit or no request of memory", m.file, name, c.Name)
			}
		}
		if _, isJob := m.object.(*batchv1.Job); !isJob && pods.Spec.Containers[0].ReadinessProbe == nil {
			t.Errorf("%s: %s has no readiness probe", m.file, name)
		}
	}
	for _, name := range []string{"edge", "bigcapital-server", "bigcapital-webapp", "bigcapital-gotenberg", "bigcapital-mysql", "bigcapital-redis", "corteza-server", "corteza-db", "corteza-docs", "edge-db"} {
		if !services[name] {
			t.Errorf("there is no Service %s", name)
		}
	}
}

// TestKubernetesAndSwarmHaveTheVersionsOfCompose: an update of an application changes its version in all three, and the name of its migration.
func TestKubernetesAndSwarmHaveTheVersionsOfCompose(t *testing.T) {
	imagesOf := func(file string) map[string]bool {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var parsed struct {
			Services map[string]struct{ Image string }
		}
		if err := yaml.Unmarshal(text, &parsed); err != nil {
			t.Fatal(err)
		}
		images := make(map[string]bool)
		for _, s := range parsed.Services {
			if !strings.HasPrefix(s.Image, "$") {
				images[s.Image] = true
			}
		}
		return images
	}
	compose := imagesOf("compose.yaml")
	for image := range imagesOf("deploy/swarm/stack.yaml") {
		if !compose[image] {
			t.Errorf("deploy/swarm/stack.yaml has %s, which compose.yaml does not", image)
		}
	}
	version := ""
	for _, m := range readManifests(t) {
		pods := podSpec(m.object)
		if pods == nil {
			continue
		}
		for _, c := range slices.Concat(pods.Spec.InitContainers, pods.Spec.Containers) {
			if c.Image != "edge" && !compose[c.Image] {
				t.Errorf("%s has %s, which compose.yaml does not", m.file, c.Image)
			}
			if strings.HasPrefix(c.Image, "bigcapitalhq/server:V") {
				version = strings.TrimPrefix(c.Image, "bigcapitalhq/server:V")
			}
		}
	}
	text, err := os.ReadFile("deploy/kubernetes/base/bigcapital.yaml")
	if err != nil {
		t.Fatal(err)
	}
	migration, err := os.ReadFile("deploy/kubernetes/base/bigcapital-migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile(`bigcapital-migration-v[\w.]+`).FindAllString(string(text)+string(migration), -1) {
		if found != "bigcapital-migration-v"+version {
			t.Errorf("the migration is called %s, want bigcapital-migration-v%s", found, version)
		}
	}
}

// TestKubernetesHasTheCaddyfile: kustomize reads no files above its own directory.
func TestKubernetesHasTheCaddyfile(t *testing.T) {
	ours, err := os.ReadFile("Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err := os.ReadFile("deploy/kubernetes/base/Caddyfile"); err != nil || !bytes.Equal(ours, theirs) {
		t.Errorf("deploy/kubernetes/base/Caddyfile is not the Caddyfile (error %v): cp Caddyfile deploy/kubernetes/base/", err)
	}
}
