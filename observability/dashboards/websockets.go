package main

func webSockets() board {
	return board{
		title: "WebSockets", hasServices: true,
		description: "WebSockets and other upgraded connections.",
		rows: []row{{title: "WebSockets", panels: []panel{
			number("Open", "", "", `sum(edge_sockets{`+of+`})`),
			number("Opened per second", "reqps", "", `sum(rate(edge_requests_total{code_class="1xx",`+of+`}[$__rate_interval]))`),
			stacked("Open", "", "By service.", query{`sum by (service) (edge_sockets{` + of + `})`, "{{service}}"}),
			graph("Opened", "reqps", "After a deploy, clients come back: the peak should be short.", query{`sum by (service) (rate(edge_requests_total{code_class="1xx",` + of + `}[$__rate_interval]))`, "{{service}}"}),
			graph("Bytes per second", "Bps", "By sender.", query{`sum by (service, from) (rate(edge_socket_bytes_total{` + of + `}[$__rate_interval]))`, "{{service}} from {{from}}"}),
		}}},
	}
}
