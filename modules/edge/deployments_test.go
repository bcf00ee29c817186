package edge

import (
	"strings"
	"testing"

	"github.com/caddyserver/certmagic"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/theworklabs/edge/internal/deploy"
	"github.com/theworklabs/edge/internal/timeline"
)

func TestDeploymentsAreCountedLoggedAndOnTheTimeline(t *testing.T) {
	core, log := observer.New(zapcore.DebugLevel)
	r := newRuntime(zap.New(core), zap.NewNop())
	t.Cleanup(func() { _ = r.Destruct() })
	for _, m := range []deploy.Event{
		{Project: "shop", Service: "web", Image: "shop/web:2", By: "ci", Result: deploy.Deployed},
		{Project: "shop", Service: "web", Image: "shop/web:1", Result: deploy.Rollback},
		{Project: "shop", Service: "web", Image: "shop/web:3", Result: deploy.Failed},
		{Project: "shop", Service: "web", Image: "shop/web:4", Result: deploy.Bad},
		{Project: "shop", Service: "web", Image: "shop/web:5", Result: deploy.Deployed},
	} {
		r.noteDeployment(m)
	}
	const want = `# HELP edge_deployments_total Deployments by edge deploy, by result: deployed, rollback, failed or bad.
# TYPE edge_deployments_total counter
edge_deployments_total{compose_service="web",project="shop",result="bad"} 1
edge_deployments_total{compose_service="web",project="shop",result="deployed"} 2
edge_deployments_total{compose_service="web",project="shop",result="failed"} 1
edge_deployments_total{compose_service="web",project="shop",result="rollback"} 1
`
	if err := testutil.CollectAndCompare(r.deployments, strings.NewReader(want), "edge_deployments_total"); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(r.deployments, "edge_deployment_timestamp_seconds"); n != 1 {
		t.Errorf("%d times of deployments, want 1", n)
	}
	r.noteDeployment(deploy.Event{Project: "shop", Service: "api", Image: "shop/api:2", Result: deploy.Bad})
	const wantBad = `# HELP edge_deployment_bad 1 if the last deployment has more errors than the version before or does not become ready, and was not undone, else 0.
# TYPE edge_deployment_bad gauge
edge_deployment_bad{compose_service="api",project="shop"} 1
edge_deployment_bad{compose_service="web",project="shop"} 0
`
	if err := testutil.CollectAndCompare(r.deployments, strings.NewReader(wantBad), "edge_deployment_bad"); err != nil {
		t.Error(err)
	}
	var levels, texts []string
	for _, e := range r.timeline.Since(0) {
		if e.Kind == timeline.Deploy {
			levels, texts = append(levels, string(e.Level)), append(texts, e.Text)
		}
	}
	if got := strings.Join(levels, " "); got != "info warning error error info error" || texts[0] != "deployed shop/web:2, by ci" {
		t.Errorf("the events are %s, %q", got, texts)
	}
	if got := log.FilterMessage("deployment").FilterField(zap.String("image", "shop/web:2")).FilterField(zap.String("by", "ci")).Len(); got != 1 {
		t.Errorf("%d log entries of the first one, want 1", got)
	}
}

// TestTheNextEdgeKnowsABadDeployment: otherwise a restart would end the alert.
func TestTheNextEdgeKnowsABadDeployment(t *testing.T) {
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	first := newDeployments()
	for _, e := range []deploy.Event{
		{Project: "shop", Service: "web", Result: deploy.Deployed},
		{Project: "shop", Service: "web", Result: deploy.Bad},
		{Project: "shop", Service: "api", Result: deploy.Bad},
		{Project: "shop", Service: "api", Result: deploy.Rollback},
	} {
		if err := first.store(storage, e); err != nil {
			t.Fatal(err)
		}
	}
	next := newDeployments()
	if err := next.load(storage); err != nil {
		t.Fatal(err)
	}
	const want = `# HELP edge_deployment_bad 1 if the last deployment has more errors than the version before or does not become ready, and was not undone, else 0.
# TYPE edge_deployment_bad gauge
edge_deployment_bad{compose_service="api",project="shop"} 0
edge_deployment_bad{compose_service="web",project="shop"} 1
`
	if err := testutil.CollectAndCompare(next, strings.NewReader(want), "edge_deployment_bad"); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(next, "edge_deployment_timestamp_seconds"); n != 2 {
		t.Errorf("%d times of deployments, want 2", n)
	}
	if err := storage.Store(t.Context(), deploymentStore.Key, []byte("{")); err != nil {
		t.Fatal(err)
	}
	if err := newDeployments().load(storage); err == nil || !strings.Contains(err.Error(), deploymentStore.Repair) {
		t.Errorf("the error is %v", err)
	}
	if err := next.store(storage, deploy.Event{Project: "shop", Service: "web", Result: deploy.Deployed}); err != nil {
		t.Errorf("broken values are not replaced: %v", err)
	}
}
