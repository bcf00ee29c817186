package main

// host shows the machine, its containers, and the edge as a process.
func host() board {
	return board{
		title:       "Host",
		description: "The machine, its containers, and the edge as a process.",
		rows: []row{
			{title: "Machine", panels: []panel{
				number("Disk", "percentunit", "The fullest file system.", `max(1 - node_filesystem_avail_bytes{fstype!~"tmpfs|overlay|squashfs"} / node_filesystem_size_bytes)`).redAbove(0.85),
				number("Memory in use", "percentunit", "", `max(1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)`).redAbove(0.9),
				number("Clock", "s", "How far it is from the right time, as far as the kernel knows.", `max(abs(node_timex_offset_seconds))`).redAbove(0.5),
				number("Up", "s", "", `time() - max(node_boot_time_seconds)`),
				stacked("Processors", "", "Busy cores.", query{`sum by (mode) (rate(node_cpu_seconds_total{mode!="idle"}[$__rate_interval]))`, "{{mode}}"}),
				graph("Pressure", "percentunit", "The part of time in which something waited for it.",
					query{`max(rate(node_pressure_cpu_waiting_seconds_total[$__rate_interval]))`, "processor"}, query{`max(rate(node_pressure_io_waiting_seconds_total[$__rate_interval]))`, "disk"}, query{`max(rate(node_pressure_memory_waiting_seconds_total[$__rate_interval]))`, "memory"}),
				graph("Memory", "bytes", "", query{`max(node_memory_MemTotal_bytes)`, "total"}, query{`max(node_memory_MemAvailable_bytes)`, "available"}),
				graph("Free disk", "bytes", "", query{`min by (mountpoint) (node_filesystem_avail_bytes{fstype!~"tmpfs|overlay|squashfs"})`, "{{mountpoint}}"}),
				graph("Bytes read and written", "Bps", "", query{`sum(rate(node_disk_read_bytes_total[$__rate_interval]))`, "read"}, query{`sum(rate(node_disk_written_bytes_total[$__rate_interval]))`, "written"}),
				graph("Load", "", "", query{`max(node_load1)`, "1 min"}, query{`count(node_cpu_seconds_total{mode="idle"})`, "cores"}),
			}},
			{title: "Containers (profile containers)", panels: []panel{
				stacked("Processors", "", "Busy cores.", query{`sum by (container_label_com_docker_compose_service) (rate(container_cpu_usage_seconds_total{container_label_com_docker_compose_service!=""}[$__rate_interval]))`, "{{container_label_com_docker_compose_service}}"}),
				graph("Memory", "bytes", "", query{`sum by (container_label_com_docker_compose_service) (container_memory_working_set_bytes{container_label_com_docker_compose_service!=""})`, "{{container_label_com_docker_compose_service}}"}),
				graph("Memory, of its limit", "percentunit", "At 1, the kernel ends a process.", query{`max by (container_label_com_docker_compose_service) (container_memory_working_set_bytes{container_label_com_docker_compose_service!=""} / (container_spec_memory_limit_bytes > 0))`, "{{container_label_com_docker_compose_service}}"}),
			}},
			{title: "The edge", panels: []panel{
				graph("Memory", "bytes", "", query{`process_resident_memory_bytes{job="edge"}`, "{{instance}}"}),
				graph("Processors", "", "Busy cores.", query{`rate(process_cpu_seconds_total{job="edge"}[$__rate_interval])`, "{{instance}}"}),
				graph("Descriptors, of their limit", "percentunit", "", query{`process_open_fds{job="edge"} / process_max_fds{job="edge"}`, "{{instance}}"}),
				graph("Own resources that were exhausted", "", "Attempts that failed in a minute, because the edge had no more of it.", query{`sum by (resource) (increase(edge_resource_exhausted_total[1m]))`, "{{resource}}"}),
				graph("Dropped log entries", "", "In a minute. Requests do not wait for the log.",
					query{`sum(increase(edge_log_entries_dropped_total[1m]))`, "log entries"}),
				graph("Dropped headers", "reqps", "What clients claimed, and may not.", query{`sum by (claim) (rate(edge_spoofed_headers_total[$__rate_interval]))`, "{{claim}}"}),
				graph("Rate limits", "reqps", "Requests, by what the limit decided.", query{`sum by (zone, decision) (rate(edge_rate_limit_requests_total[$__rate_interval]))`, "{{zone}}: {{decision}}"}),
			}},
		},
	}
}
