package harness

import (
	"context"
	"regexp"
	"strings"
)

var alertLabel = regexp.MustCompile(`(\w+)="([^"]*)"`)

// Alerts returns the labels of the alerts that the project's Prometheus has, which is one of Debian's: alertname, alertstate (pending or firing), and others. The matchers
// select some, such as `alertname="TargetDown"`.
func (p *Project) Alerts(ctx context.Context, matchers string) ([]map[string]string, error) {
	out, err := p.Compose(ctx, "exec", "-T", "prometheus", "promtool", "query", "instant", "http://127.0.0.1:9090", "ALERTS{"+matchers+"}")
	if err != nil {
		return nil, err
	}
	var alerts []map[string]string
	for line := range strings.Lines(out) {
		labels := make(map[string]string)
		for _, m := range alertLabel.FindAllStringSubmatch(line, -1) {
			labels[m[1]] = m[2]
		}
		if labels["alertname"] != "" {
			alerts = append(alerts, labels)
		}
	}
	return alerts, nil
}
