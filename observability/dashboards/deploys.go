package main

// deploys shows what happens to requests while containers come and go.
func deploys() board {
	return board{
		title: "Deploys", hasServices: true,
		description: "What happens to requests while containers come and go.",
		rows: []row{
			{title: "Containers", panels: []panel{
				stacked("Ready", "", "", query{`sum by (service) (edge_endpoints{state="ready",` + of + `})`, "{{service}}"}),
				stacked("Not ready", "", "Starting, failing or draining.", query{`sum by (service, state) (edge_endpoints{state!="ready",` + of + `})`, "{{service}}: {{state}}"}),
				graph("Drains, and ejections", "", "How many containers began to drain, and were taken out because they failed requests, in a minute.",
					query{`sum by (service) (increase(edge_drains_total{` + of + `}[1m]))`, "{{service}} drains"},
					query{`sum by (service) (increase(edge_ejections_total{` + of + `}[1m]))`, "{{service}} ejected"}),
			}},
			{title: "Deployments by edge deploy", panels: []panel{
				graph("Bad versions that run", "", "They have more errors than the version before, or do not become ready, and were not undone.", query{`max by (project, compose_service) (edge_deployment_bad)`, "{{compose_service}}"}),
				graph("Deployments in an hour", "", "", query{`sum by (compose_service, result) (increase(edge_deployments_total[1h]))`, "{{compose_service}}: {{result}}"}),
				graph("Age of the version", "s", "Since it was deployed, or rolled back to.", query{`time() - max by (project, compose_service) (edge_deployment_timestamp_seconds)`, "{{compose_service}}"}),
				graph("Restarts of unhealthy containers in an hour", "", "", query{`sum by (outcome) (increase(edge_restarts_total[1h]))`, "{{outcome}}"}),
			}},
			{title: "Requests meanwhile", panels: []panel{
				graph("Lost", "", "Requests without a complete answer of their service, in a minute.",
					query{`sum by (service, outcome) (increase(edge_requests_lost_total{` + of + `}[1m]))`, "{{service}}: {{outcome}}"}),
				graph("Sent again", "reqps", "", query{`sum by (service) (rate(edge_retries_total{` + of + `}[$__rate_interval]))`, "{{service}}"}),
				graph("Waiting for a container", "", "", query{`sum by (service) (edge_requests_held{` + of + `})`, "{{service}}"}),
				graph("How long they waited: p99", "s", "",
					query{`histogram_quantile(0.99, sum by (le, service) (rate(edge_request_wait_seconds_bucket{phase="held",` + of + `}[$__rate_interval])))`, "{{service}}"}),
				graph("Failed checks", "reqps", "By the probe.", query{`sum by (service) (rate(edge_probe_checks_total{result="failed",` + of + `}[$__rate_interval]))`, "{{service}}"}),
				graph("In maintenance", "", "", query{`max by (service) (edge_maintenance{` + of + `})`, "{{service}}"}),
			}},
			{title: "The edge", panels: []panel{
				graph("From Docker's event to its effect", "s", "", query{quantile("0.50", "edge_discovery_lag_seconds", ""), "p50"}, query{quantile("0.99", "edge_discovery_lag_seconds", ""), "p99"}),
				graph("Sources", "", "1 if connected: without its Engine, the edge uses DNS and what it knows.", query{`min by (source) (edge_source_connected)`, "{{source}}"}),
				graph("Configurations", "", "Each reload adds one.", query{`max by (instance) (edge_config_generation)`, "{{instance}}"}),
			}},
		},
	}
}
