package preflight

// checkCDN says what the CDN of compose.cdn.yaml refuses before the edge gets to see it.
func checkCDN(s *stack) []Finding {
	if value := s.edge.Environment["ORIGIN_PULLS"]; value == nil || *value == "" {
		return nil
	}
	return []Finding{okFinding("cdn", "the sites are for a CDN with your certificate; Cloudflare's plans Free and Pro refuse request bodies above 100 MB (docs/cdn.md#limits-of-cloudflare)")}
}
