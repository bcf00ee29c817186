package edge

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/deploy"
	"github.com/theworklabs/edge/internal/timeline"
	"github.com/theworklabs/edge/internal/traffic"
)

// deployments has the metrics of what `edge deploy` has reported since the start of the process.
type deployments struct {
	total *prometheus.CounterVec
	last  *prometheus.GaugeVec
	bad   *prometheus.GaugeVec
}

func newDeployments() *deployments {
	return &deployments{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "edge_deployments_total", Help: "Deployments by edge deploy, by result: deployed, rollback, failed or bad.",
		}, []string{"project", "compose_service", "result"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "edge_deployment_timestamp_seconds", Help: "When edge deploy has last deployed an image, or gone back to one.",
		}, []string{"project", "compose_service"}),
		bad: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "edge_deployment_bad", Help: "1 if the last deployment has more errors than the version before and was not undone, because a migration has run, else 0.",
		}, []string{"project", "compose_service"}),
	}
}

// Describe implements prometheus.Collector.
func (d *deployments) Describe(to chan<- *prometheus.Desc) {
	d.total.Describe(to)
	d.last.Describe(to)
	d.bad.Describe(to)
}

// Collect implements prometheus.Collector.
func (d *deployments) Collect(to chan<- prometheus.Metric) {
	d.total.Collect(to)
	d.last.Collect(to)
	d.bad.Collect(to)
}

// deploymentResults are the results that are reported, with the event's text and its level.
var deploymentResults = map[deploy.Result]struct {
	text  string
	level timeline.Level
}{
	deploy.Deployed: {"deployed %s", timeline.Info},
	deploy.Rollback: {"gone back to %s", timeline.Warning},
	deploy.Failed:   {"the deployment of %s has failed; the version before runs", timeline.Error},
	deploy.Bad:      {"%s has more errors than the version before, and was not undone, because a migration has run", timeline.Error},
}

// postDeployments takes a [deploy.Mark], which `edge deploy` sends.
func postDeployments(r *http.Request) (any, error) {
	shared, a := activeEdge()
	if a == nil {
		return nil, errNoEdge
	}
	var mark deploy.Mark
	if err := decodeBody(r, &mark); err != nil {
		return nil, err
	}
	if _, isKnown := deploymentResults[mark.Result]; !isKnown || mark.Service == "" || mark.Project == "" {
		return nil, apiError(http.StatusBadRequest, errors.New("want a project, a service and a result: deployed, rollback, failed or bad"))
	}
	shared.noteDeployment(mark)
	return struct{}{}, nil
}

// noteDeployment counts a deployment, logs it, and adds it to the timeline of each route to the service.
func (r *runtime) noteDeployment(m deploy.Mark) {
	result := deploymentResults[m.Result]
	r.deployments.total.WithLabelValues(m.Project, m.Service, string(m.Result)).Inc()
	if m.Result != deploy.Failed { // then the version before runs, of which this says nothing
		r.deployments.bad.WithLabelValues(m.Project, m.Service).Set(toFloat(m.Result == deploy.Bad))
	}
	if m.Result == deploy.Deployed || m.Result == deploy.Rollback {
		r.deployments.last.WithLabelValues(m.Project, m.Service).SetToCurrentTime()
	}
	text := fmt.Sprintf(result.text, m.Image)
	if m.By != "" {
		text += ", by " + m.By
	}
	fields := []zap.Field{
		zap.String("project", m.Project), zap.String("compose_service", m.Service), zap.String("image", m.Image), zap.String("by", m.By), zap.String("result", string(m.Result)),
	}
	switch log := r.logs.named("deploy"); result.level {
	case timeline.Info:
		log.Info("deployment", fields...)
	case timeline.Warning:
		log.Warn("deployment", fields...)
	default:
		log.Error("deployment", fields...)
	}
	names := r.routesTo(m.Project, m.Service)
	if len(names) == 0 {
		names = []string{m.Service}
	}
	for _, name := range names {
		r.timeline.Add(timeline.Event{Kind: timeline.Deploy, Level: result.level, Service: name, Text: text})
	}
}

// routesTo returns the names of the routes to a service of a Compose project, by its containers.
func (r *runtime) routesTo(project, service string) (names []string) {
	prefix := project + "/" + service + "/"
	for _, s := range r.registry.Snapshot() {
		for _, e := range s.Endpoints {
			if strings.HasPrefix(e.Name, prefix) && !slices.Contains(names, s.Service) {
				names = append(names, s.Service)
			}
		}
	}
	return names
}

// getTraffic answers with what each service had in the last minutes, by name.
func getTraffic(*http.Request) (any, error) {
	shared, a := activeEdge()
	if a == nil {
		return nil, errNoEdge
	}
	histories := make(map[string][]traffic.Point)
	for _, s := range shared.registry.Snapshot() {
		histories[s.Service] = a.TrafficHistory(s.Service)
	}
	return histories, nil
}

var _ prometheus.Collector = new(deployments)
