package edge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/deploy"
	"github.com/theworklabs/edge/internal/stored"
	"github.com/theworklabs/edge/internal/timeline"
	"github.com/theworklabs/edge/internal/traffic"
)

// deployments has the metrics of what `edge deploy` has reported.
type deployments struct {
	total *prometheus.CounterVec // since the start of the process
	last  *prometheus.GaugeVec
	bad   *prometheus.GaugeVec

	isLoaded atomic.Bool
}

// storedDeployments are the last deployments of each project and service, for the next edge.
type storedDeployments map[string]map[string]storedDeployment

type storedDeployment struct {
	Time  time.Time `json:"time"`          // when an image was deployed, or rolled back to
	IsBad bool      `json:"bad,omitempty"` // it has more errors than the version before
}

var deploymentStore = stored.Value[storedDeployments]{Key: "edge/deployments.json", Repair: "the next deployment writes it anew"}

func newDeployments() *deployments {
	return &deployments{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "edge_deployments_total", Help: "Deployments by edge deploy, by result: deployed, rollback, failed or bad.",
		}, []string{"project", "compose_service", "result"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "edge_deployment_timestamp_seconds", Help: "When edge deploy has last deployed an image, or rolled back to one.",
		}, []string{"project", "compose_service"}),
		bad: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "edge_deployment_bad", Help: "1 if the last deployment has more errors than the version before or does not become ready, and was not undone, else 0.",
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

// set sets the gauges of a service.
func (d *deployments) set(project, service string, s storedDeployment) {
	for result := range deploymentResults {
		d.total.WithLabelValues(project, service, string(result)) // also without one: the next must show as an increase
	}
	if !s.Time.IsZero() {
		d.last.WithLabelValues(project, service).Set(unixSeconds(s.Time))
	}
	d.bad.WithLabelValues(project, service).Set(toFloat(s.IsBad))
}

// load sets the gauges to what an earlier edge has stored, once.
func (d *deployments) load(storage certmagic.Storage) error {
	if d.isLoaded.Load() {
		return nil
	}
	all, err := deploymentStore.Load(context.Background(), storage)
	if err != nil {
		return err
	}
	d.isLoaded.Store(true)
	for project, services := range *all {
		for service, s := range services {
			d.set(project, service, s)
		}
	}
	return nil
}

// store has the next edge know a deployment.
func (d *deployments) store(storage certmagic.Storage, e deploy.Event) error {
	_, err := deploymentStore.Update(context.Background(), storage, func(all *storedDeployments) *storedDeployments {
		if all == nil || *all == nil {
			all = &storedDeployments{}
		}
		if (*all)[e.Project] == nil {
			(*all)[e.Project] = make(map[string]storedDeployment)
		}
		s := (*all)[e.Project][e.Service]
		s.IsBad = e.Result == deploy.Bad
		if !s.IsBad {
			s.Time = time.Now()
		}
		(*all)[e.Project][e.Service] = s
		return all
	})
	return err
}

// deploymentResults are the results that are reported, with the event's text and its level.
var deploymentResults = map[deploy.Result]struct {
	text  string
	level timeline.Level
}{
	deploy.Deployed: {"deployed %s", timeline.Info},
	deploy.Rollback: {"rolled back to %s", timeline.Warning},
	deploy.Failed:   {"the deployment of %s has failed; the version before runs", timeline.Error},
	deploy.Bad:      {"%s has more errors than the version before or does not become ready, and was not undone", timeline.Error},
}

// postDeployments takes a [deploy.Event], which `edge deploy` sends.
func postDeployments(r *http.Request) (any, error) {
	shared, a := activeEdge()
	if a == nil {
		return nil, errNoEdge
	}
	var event deploy.Event
	if err := decodeMessage(r, &event); err != nil {
		return nil, err
	}
	if _, isKnown := deploymentResults[event.Result]; !isKnown || event.Service == "" || event.Project == "" {
		return nil, apiError(http.StatusBadRequest, errors.New("want a project, a service and a result: deployed, rollback, failed or bad"))
	}
	shared.noteDeployment(event)
	if event.Result == deploy.Failed {
		return struct{}{}, nil
	}
	if err := shared.deployments.store(a.storage, event); err != nil {
		return nil, apiError(http.StatusInternalServerError, fmt.Errorf("the next edge will not know of it: %w", err))
	}
	return struct{}{}, nil
}

// noteDeployment counts a deployment, logs it, and adds it to the timeline of each route to the service.
func (r *runtime) noteDeployment(e deploy.Event) {
	result := deploymentResults[e.Result]
	r.deployments.total.WithLabelValues(e.Project, e.Service, string(e.Result)).Inc()
	switch e.Result {
	case deploy.Failed: // the version before runs, of which this says nothing
	case deploy.Bad:
		r.deployments.set(e.Project, e.Service, storedDeployment{IsBad: true})
	default:
		r.deployments.set(e.Project, e.Service, storedDeployment{Time: time.Now()})
	}
	text := fmt.Sprintf(result.text, e.Image)
	if e.By != "" {
		text += ", by " + e.By
	}
	fields := []zap.Field{
		zap.String("project", e.Project), zap.String("compose_service", e.Service), zap.String("image", e.Image), zap.String("by", e.By), zap.String("result", string(e.Result)),
	}
	switch log := r.logs.named("deploy"); result.level {
	case timeline.Info:
		log.Info("deployment", fields...)
	case timeline.Warning:
		log.Warn("deployment", fields...)
	default:
		log.Error("deployment", fields...)
	}
	names := r.routesTo(e.Project, e.Service)
	if len(names) == 0 {
		names = []string{e.Service}
	}
	for _, name := range names {
		r.timeline.Add(timeline.Event{Kind: timeline.Deploy, Level: result.level, Service: name, Text: text, IsNew: e.Result == deploy.Deployed || e.Result == deploy.Rollback})
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
