package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/theworklabs/edge/internal/registry"
)

// callAdmin makes a request to the admin API of a proxy; body may be nil.
func (p proxy) callAdmin(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.admin+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s of %s: %s: %s", method, path, p.name, resp.Status, answer)
	}
	return answer, err
}

// edgeServiceStatus returns an edge's status of one service; the zero value if the edge does not answer or does not know it.
func (s *testbed) edgeServiceStatus(ctx context.Context, p proxy, name string) registry.ServiceStatus {
	answer, err := p.callAdmin(ctx, http.MethodGet, "/edge/services", nil)
	var all []registry.ServiceStatus
	if err != nil || json.Unmarshal(answer, &all) != nil {
		return registry.ServiceStatus{}
	}
	for _, service := range all {
		if service.Service == name {
			return service
		}
	}
	return registry.ServiceStatus{}
}

// resourceUsage counts the goroutines and the open file descriptors of a Go program.
type resourceUsage struct{ goroutines, files int }

// resourceUsage returns the usage that a Caddy reports in its metrics.
func (p proxy) resourceUsage(ctx context.Context) (u resourceUsage, err error) {
	answer, err := p.callAdmin(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return resourceUsage{}, err
	}
	lines := bufio.NewScanner(bytes.NewReader(answer))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		switch name {
		case "go_goroutines":
			u.goroutines, err = strconv.Atoi(value)
		case "process_open_fds":
			u.files, err = strconv.Atoi(value)
		}
		if err != nil {
			return resourceUsage{}, err
		}
	}
	if u.goroutines == 0 || u.files == 0 {
		return resourceUsage{}, errors.New("the metrics of " + p.name + " lack go_goroutines or process_open_fds")
	}
	return u, nil
}
