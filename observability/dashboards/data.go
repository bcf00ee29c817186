package main

// data shows backups, drills and the databases.
func data() board {
	return board{
		title:       "Data",
		description: "Backups, drills, and the databases.",
		rows: []row{
			{title: "Backups", panels: []panel{
				number("Age of the oldest last backup", "s", "", `time() - min(edge_backup_last_success_timestamp_seconds)`).redAbove(26 * 3600),
				number("Data that a loss would cost", "s", "How far back the worst recovery point is.", `time() - min(edge_recovery_point_timestamp_seconds)`),
				number("Applications whose backup is overdue", "", "", `sum(max by (project, application) (edge_backup_overdue))`).redAbove(1),
				number("Applications whose last backup failed", "", "", `sum(1 - max by (project, application) (edge_backup_success))`).redAbove(1),
				number("Sets with much less data", "", "Than an earlier one.", `sum(max by (project, application) (edge_backup_shrunk))`).redAbove(1),
				number("Logs that are overdue", "", "Of databases, of this many applications.", `sum(max by (project, application) (edge_backup_logs_overdue))`).redAbove(1),
				number("Logs are stored", "", "1 if the last run stored them all, and they continue the last sets.", `min(edge_backup_logs_success)`).redBelow(1),
				number("Second repository", "", "1 if it has all sets, and all logs.", `min({__name__=~"edge_backup_copy_success|edge_backup_logs_copy_success"})`).redBelow(1),
				number("Drill is overdue", "", "", `sum(max by (project) (edge_drill_overdue))`).redAbove(1),
				number("Last drill", "", "1 if it was successful.", `min(edge_drill_success)`).redBelow(1),
				number("Age of the last good drill", "s", "", `time() - min(edge_drill_last_success_timestamp_seconds)`).redAbove(8 * 86400),
				number("Restored in", "s", "How long the last good drill took: the recovery time.", `max(edge_drill_recovery_seconds)`),
				graph("Duration of the last backup", "s", "", query{`max by (application) (edge_backup_duration_seconds)`, "{{application}}"}),
				graph("Size, and what the last backup added", "bytes", "", query{`max by (application) (edge_backup_size_bytes)`, "{{application}}"}, query{`max by (application) (edge_backup_added_bytes)`, "{{application}} added"}),
				stacked("Recovery time by step", "s", "Of the last good drill.", query{`max by (step) (edge_drill_step_seconds)`, "{{step}}"}),
			}},
			{title: "Replica", panels: []panel{
				number("In sync", "", "1 if every acknowledged commit of both databases is on the replica, 0 if a primary is alone.", `min(edge_replication_synchronous)`).redBelow(1),
				number("Primaries that respond", "", "", `sum(edge_replication_primary_up)`).redBelow(2),
				number("Age of what is known", "s", "", `time() - max(edge_replication_observed_timestamp_seconds)`).redAbove(60),
				number("Replicas that are connected", "", "", `sum(edge_replication_connected)`).redBelow(2),
				number("Commits that wait now", "", "", `sum(edge_replication_waiting_commits)`),
				number("Lag now", "s", "", `max(edge_replication_lag_seconds)`).redAbove(60),
				graph("Commits that wait", "", "For the replica, which does not confirm.", query{`max by (database) (edge_replication_waiting_commits)`, "{{database}}"}),
				graph("Wait of a commit", "s", "For the replica: the longest of a minute.", query{`max by (database) (edge_replication_commit_wait_seconds)`, "{{database}}"}),
				graph("Lag", "s", "How old what the replica has applied is.", query{`max by (database) (edge_replication_lag_seconds)`, "{{database}}"}),
				graph("Connected", "", "1 if the replica receives, and confirms.", query{`min by (database) (edge_replication_connected)`, "{{database}}"}),
			}},
			{title: "MariaDB", panels: []panel{
				graph("Queries", "reqps", "", query{`sum(rate(mysql_global_status_queries[$__rate_interval]))`, "queries"}, query{`sum(rate(mysql_global_status_slow_queries[$__rate_interval]))`, "slow"}),
				graph("Connections", "", "", query{`sum(mysql_global_status_threads_connected)`, "connected"}, query{`sum(mysql_global_status_threads_running)`, "running"}, query{`sum(mysql_global_variables_max_connections)`, "limit"}),
				graph("Pages of the buffer pool", "", "", query{`sum by (state) (mysql_global_status_buffer_pool_pages)`, "{{state}}"}),
			}},
			{title: "PostgreSQL", panels: []panel{
				graph("Transactions", "reqps", "", query{`sum(rate(pg_stat_database_xact_commit[$__rate_interval]))`, "committed"}, query{`sum(rate(pg_stat_database_xact_rollback[$__rate_interval]))`, "rolled back"}),
				graph("Connections", "", "", query{`sum by (datname) (pg_stat_database_numbackends{datname!=""})`, "{{datname}}"}),
				graph("Size", "bytes", "", query{`max by (datname) (pg_database_size_bytes)`, "{{datname}}"}),
			}},
			{title: "Redis", panels: []panel{
				graph("Commands", "reqps", "", query{`sum(rate(redis_commands_processed_total[$__rate_interval]))`, "commands"}),
				graph("Memory", "bytes", "", query{`max(redis_memory_used_bytes)`, "used"}),
				graph("Clients", "", "", query{`max(redis_connected_clients)`, "connected"}),
			}},
		},
	}
}
