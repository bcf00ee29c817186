package deploy

import (
	"context"
	"encoding/json"
)

// Event reports the result of a deployment to the edge, for its metrics, its log and the status page.
type Event struct {
	Project string `json:"project"`
	Service string `json:"service"` // of Compose
	Image   string `json:"image"`
	By      string `json:"by,omitempty"`
	Result  Result `json:"result"`
}

// notify notifies the edge of a deployment. That it cannot is no failure of the deployment.
func (r *run) notify(ctx context.Context, service string, result Result, d Deployment) {
	image := d.Image
	if image == "" {
		image = "that of the compose file"
	}
	content, err := json.Marshal(Event{r.stack.Name, service, image, string(d.By), result})
	if err == nil {
		err = r.NewRollout(r.project, RolloutOptions{Services: []string{service}}).RunInEdge(context.WithoutCancel(ctx), "deploy", "--notify-edge", string(content))
	}
	if err != nil {
		r.print("warning: the edge was not notified: %s", firstLine(err))
	}
}
