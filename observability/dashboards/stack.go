package main

// of is the selector of the chosen services.
const of = `service=~"$service"`

// stack is the first dashboard that one opens: each service in a row.
func stack() board {
	return board{
		title: "Stack", hasServices: true,
		description: "Each service: its requests, errors, latency, what waits and what was lost, and its containers.",
		rows: []row{
			{title: "All services", panels: []panel{
				number("Requests per second", "reqps", "", `sum(rate(edge_requests_total{`+of+`}[$__rate_interval]))`),
				number("Server errors", "percentunit", "The part of requests with a status from 500 on.",
					`sum(rate(edge_requests_total{code_class="5xx",`+of+`}[$__rate_interval])) / sum(rate(edge_requests_total{`+of+`}[$__rate_interval]))`).redAbove(0.01),
				number("Services without a ready container", "", "Outside of maintenance.",
					`count((sum by (service) (edge_endpoints{state="ready",`+of+`}) == 0) unless on (service) (edge_maintenance == 1)) or vector(0)`).redAbove(1),
				number("Requests that wait", "", "For a ready container, or for the end of a maintenance.", `sum(edge_requests_held{`+of+`})`).redAbove(1),
				number("Lost in the last hour", "", "Requests without a complete answer of their service.", `sum(increase(edge_requests_lost_total{`+of+`}[1h]))`).redAbove(1),
				number("p95", "s", "The duration that 95 of 100 requests do not exceed.",
					`histogram_quantile(0.95, sum by (le) (rate(edge_request_duration_seconds_bucket{`+of+`}[$__rate_interval])))`),
			}},
			{title: "$service", repeat: true, panels: []panel{
				stacked("Requests", "reqps", "By class of status. 1xx are upgrades to WebSocket.",
					query{`sum by (code_class) (rate(edge_requests_total{` + of + `}[$__rate_interval]))`, "{{code_class}}"}),
				stacked("Errors: the application's, and the edge's", "reqps", "The edge's are those without an answer of the application, or with a part of one (incomplete). In a maintenance, its 503s are among the application's.",
					query{`sum(rate(edge_requests_total{code_class="5xx",` + of + `}[$__rate_interval])) - sum(rate(edge_requests_lost_total{outcome!="incomplete",` + of + `}[$__rate_interval]))`, "application"},
					query{`sum by (outcome) (rate(edge_requests_lost_total{` + of + `}[$__rate_interval]))`, "edge: {{outcome}}"}),
				graph("Duration", "s", "From the arrival of a request until its response has been sent.",
					query{quantile("0.50", "edge_request_duration_seconds", of), "p50"}, query{quantile("0.95", "edge_request_duration_seconds", of), "p95"}, query{quantile("0.99", "edge_request_duration_seconds", of), "p99"}),
				graph("Where the time goes: p95", "s", "held: without a ready container. connect: to a new connection. first_byte: the application.",
					query{`histogram_quantile(0.95, sum by (le, phase) (rate(edge_request_wait_seconds_bucket{` + of + `}[$__rate_interval])))`, "{{phase}}"}),
				graph("Waiting, and in flight", "", "",
					query{`sum(edge_requests_held{` + of + `})`, "waiting"}, query{`sum(edge_requests_in_flight{` + of + `})`, "in flight"}),
				stacked("Containers", "", "By state.", query{`sum by (state) (edge_endpoints{` + of + `})`, "{{state}}"}),
			}},
		},
	}
}

// quantile is a quantile of a histogram of ours.
func quantile(q, name, selector string) string {
	return `histogram_quantile(` + q + `, sum by (le) (rate(` + name + `_bucket{` + selector + `}[$__rate_interval])))`
}
