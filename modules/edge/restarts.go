package edge

import (
	"context"
	"sync"
	"time"

	"github.com/moby/moby/client"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/restart"
)

// restarter restarts unhealthy containers through the Docker Engine, or its socket proxy. It outlives configurations.
type restarter struct {
	runtime  *runtime
	counts   counters // by outcome
	mu       sync.Mutex
	settings restartSettings
	stop     func() // stops the goroutine, and waits for it; nil: there is none
}

// restartSettings are those of one configuration.
type restartSettings struct {
	dockerHost string
	after      time.Duration // 0: nothing is restarted
}

// Outcomes of restarts.
const (
	restarted    = "restarted"
	notRestarted = "failed"
)

// reconcile begins or ends restarts, as the settings say.
func (r *restarter) reconcile(settings restartSettings) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if settings.after == 0 {
		settings = restartSettings{}
	}
	if settings == r.settings {
		return
	}
	r.stopLocked()
	r.settings = settings
	log := r.runtime.logs.named("restart")
	if settings.after == 0 {
		return
	}
	docker, err := client.New(client.WithHost(settings.dockerHost))
	if err != nil { // validate has checked it
		log.Error("unhealthy containers are not restarted", zap.Error(err))
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer docker.Close()
		restart.Restarter{
			After: settings.after, Services: r.runtime.snapshot, OnRestart: r.report,
			Restart: func(ctx context.Context, container string) error {
				_, err := docker.ContainerRestart(ctx, container, client.ContainerRestartOptions{})
				return err
			},
		}.Run(ctx)
	}()
	r.stop = func() {
		cancel()
		<-done
	}
}

// close ends restarts.
func (r *restarter) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopLocked()
}

func (r *restarter) stopLocked() {
	if r.stop != nil {
		r.stop()
		r.stop = nil
	}
}

// report logs, counts and notes an attempt.
func (r *restarter) report(service string, e registry.EndpointStatus, err error) {
	log := r.runtime.noted(r.runtime.logs.named("restart")).With(zap.String("service", service), zap.String("endpoint", e.Name), zap.String("id", e.ID))
	if err != nil {
		r.counts.add(notRestarted)
		log.Error("an unhealthy container was not restarted", zap.Error(err))
		return
	}
	r.counts.add(restarted)
	log.Warn("an unhealthy container was restarted")
}
