package preflight

// checkCDN says what the CDN of compose.cdn.yaml refuses before the edge gets to see it.
func checkCDN(s *stack) []Finding {
	if value := s.edge.Environment["ORIGIN_PULLS"]; value == nil || *value == "" {
		return nil
	}
	return []Finding{okFinding("cdn", "the sites are for a CDN with your certificate; with Cloudflare's plans Free and Pro, request bodies above 100 MB are refused, whatever the limits of the sites are, "+
		"and so are answers that begin after 100 s; WebSockets without messages for 100 s are closed (docs/cdn.md#limits-of-cloudflare)")}
}
