package socketproxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"time"
)

const (
	// labelRestart is the label by which the owner of a container lets it be restarted.
	labelRestart = "edge.restart"
	// whenUnhealthy is its only value, and the word of the Docker Engine.
	whenUnhealthy = "unhealthy"

	// Of one container, the proxy forwards at most maxRestarts requests in restartWindow, and minRestartPause apart: one that stays unhealthy has a
	// fault that no restart mends. Of all together, at most maxAllRestarts.
	maxRestarts     = 3
	maxAllRestarts  = 10
	restartWindow   = 30 * time.Minute
	minRestartPause = time.Minute

	// restartTimeout is how long the Docker Engine may take: the container's stop timeout, and its start.
	restartTimeout = 3 * time.Minute
)

// restartPath is the path of a request to restart a container, by its full ID.
var restartPath = regexp.MustCompile(`^/containers/([0-9a-f]{64})/restart$`)

// restarts forwards requests to restart containers that are unhealthy. The client says which; whether it is so, the Docker Engine is asked.
type restarts struct {
	engine *http.Client // without a timeout for the answer
	report func(format string, args ...any)
	limits *RestartLimits
}

// RestartLimits counts restarts. It is safe for concurrent use.
type RestartLimits struct {
	mu   sync.Mutex
	last map[string][]time.Time // the restarts in the last restartWindow, by container
}

// NewRestartLimits returns limits that have counted none.
func NewRestartLimits() *RestartLimits {
	return &RestartLimits{last: make(map[string][]time.Time)}
}

// AllowRestarts makes the proxy forward POST /containers/ID/restart for a container that is labelled `edge.restart: unhealthy`, runs, and is unhealthy by Docker's
// own health check: three times in 30 minutes, and at most ten of all containers. report is called for each, as [fmt.Printf] would be. It must be called before the
// proxy serves.
func (p *Proxy) AllowRestarts(report func(format string, args ...any)) {
	transport := p.engine.Transport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = restartTimeout
	p.restarts = &restarts{engine: &http.Client{Transport: transport}, report: report, limits: NewRestartLimits()}
}

// inspection is what decides about a restart.
type inspection struct {
	Name   string `json:"Name"`
	Config struct {
		Labels map[string]string `json:"Labels"`
	} `json:"Config"`
	State struct {
		Running bool `json:"Running"`
		Paused  bool `json:"Paused"`
		Health  *struct {
			Status string `json:"Status"`
		} `json:"Health"`
	} `json:"State"`
}

// refusal returns why the container must not be restarted, or "".
func (i *inspection) refusal() string {
	switch {
	case i.Config.Labels[labelRestart] != whenUnhealthy:
		return "it has no label " + labelRestart + ": " + whenUnhealthy
	case !i.State.Running || i.State.Paused:
		return "it does not run"
	case i.State.Health == nil || i.State.Health.Status != whenUnhealthy:
		return "Docker's health check does not say that it is unhealthy"
	}
	return ""
}

// serve restarts a container, or answers why not: 403, 404, 409, 429.
func (r *restarts) serve(w http.ResponseWriter, req *http.Request, id string) {
	ctx, cancel := context.WithTimeout(req.Context(), restartTimeout)
	defer cancel()
	status, body, err := r.call(ctx, http.MethodGet, "/containers/"+id+"/json")
	switch {
	case err != nil:
		writeUnreachable(w, err)
		return
	case status == http.StatusNotFound:
		writeError(w, http.StatusNotFound, "no such container")
		return
	case status != http.StatusOK:
		writeError(w, http.StatusBadGateway, fmt.Sprintf("the Docker Engine answers %d", status))
		return
	}
	var container inspection
	if err := json.Unmarshal(body, &container); err != nil {
		writeError(w, http.StatusBadGateway, "read the container: "+err.Error())
		return
	}
	if why := container.refusal(); why != "" {
		writeError(w, http.StatusConflict, "the socket proxy does not restart this container: "+why)
		return
	}
	if why := r.limits.Take(id, time.Now()); why != "" {
		writeError(w, http.StatusTooManyRequests, "the socket proxy does not restart this container: "+why)
		return
	}
	r.report("edge: restarting %s (%.12s), which is unhealthy\n", container.Name, id)
	status, body, err = r.call(ctx, http.MethodPost, "/containers/"+id+"/restart")
	if err != nil {
		writeUnreachable(w, err)
		return
	}
	if status != http.StatusNoContent {
		r.report("edge: restarting %s: %d %s\n", container.Name, status, body)
		writeError(w, http.StatusBadGateway, fmt.Sprintf("the Docker Engine answers %d", status))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// Take counts a restart, or returns why there must be none now.
func (r *RestartLimits) Take(id string, now time.Time) (why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := 0
	for other, times := range r.last {
		for len(times) > 0 && now.Sub(times[0]) >= restartWindow {
			times = times[1:]
		}
		if len(times) == 0 {
			delete(r.last, other)
			continue
		}
		r.last[other] = times
		all += len(times)
	}
	times := r.last[id]
	switch n := len(times); {
	case n > 0 && now.Sub(times[n-1]) < minRestartPause:
		return "it was restarted less than a minute ago"
	case n >= maxRestarts:
		return "three restarts in 30 minutes have not helped"
	case all >= maxAllRestarts:
		return "ten containers were restarted in 30 minutes: something else is wrong"
	}
	r.last[id] = append(times, now)
	return ""
}

// call makes a request to the Docker Engine, and returns the status and the body of its answer.
func (r *restarts) call(ctx context.Context, method, path string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, (&url.URL{Scheme: "http", Host: "docker", Path: path}).String(), nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := r.engine.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, body, err
}
