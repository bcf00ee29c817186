package main

func certificates() board {
	return board{
		title:       "Certificates",
		description: "Until when the certificates are valid, and whether their renewal works.",
		rows: []row{{title: "Certificates", panels: []panel{
			number("Days until the first expires", "d", "", `(min(edge_certificate_not_after_timestamp_seconds) - time()) / 86400`).redBelow(7),
			number("Names whose last attempt failed", "", "", `count(edge_certificate_last_issuance_success == 0) or vector(0)`).redAbove(1),
			graph("Days until they expire", "d", "", query{`(min by (name) (edge_certificate_not_after_timestamp_seconds) - time()) / 86400`, "{{name}}"}),
			graph("Days until their renewal begins", "d", "", query{`(min by (name) (edge_certificate_renewal_timestamp_seconds) - time()) / 86400`, "{{name}}"}),
			graph("Failed attempts in an hour", "", "By reason.", query{`sum by (name, reason) (increase(edge_certificate_failures_total[1h]))`, "{{name}}: {{reason}}"}),
		}}},
	}
}
