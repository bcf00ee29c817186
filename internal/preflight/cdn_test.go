package preflight

import (
	"slices"
	"testing"
)

func TestTheLimitOfACDNIsTold(t *testing.T) {
	for pulls, want := range map[string]bool{"": false, "import origin_pulls": true} {
		w := newFakeHost(t)
		w.service("edge")["environment"] = jsonObject{"DOMAIN": "example.com", "ORIGIN_PULLS": pulls}
		all := w.newCheck(t).Run(t.Context())
		if want {
			expectFinding(t, all, "cdn", OK, "request bodies above 100 MB are refused", "")
		} else if slices.ContainsFunc(all, func(f Finding) bool { return f.Check == "cdn" }) {
			t.Errorf("without a CDN: %+v", all)
		}
	}
}
