package engineio_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/engineio"
)

func FuzzQuerySIDIsTheOneServersSee(f *testing.F) {
	for _, q := range queries {
		f.Add(q.query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		q := engineio.Parse(query)
		if q.Protocol == 0 && q != (engineio.Query{}) {
			t.Errorf("%q without EIO is %+v", query, q)
		}
		if q.InvalidSID && (q.SID != "" || q.IsHandshake()) {
			t.Errorf("%q has an invalid sid, but is %+v", query, q)
		}
		if q.SID == "" || strings.Contains(query, ";") {
			return // url.ParseQuery drops pairs with a semicolon; servers do not
		}
		if len(q.SID) > engineio.MaxSID {
			t.Errorf("got a sid of %d bytes", len(q.SID))
		}
		values, _ := url.ParseQuery(query) // besides an error, it returns the valid pairs
		if sids := slices.Compact(values["sid"]); len(sids) != 1 || sids[0] != q.SID {
			t.Errorf("%q: got the sid %q, a server reads %q", query, q.SID, sids)
		}
	})
}

func FuzzHandshakeIsValidOrAnError(f *testing.F) {
	for _, form := range handshakeForms {
		f.Add([]byte(form.body))
	}
	for _, r := range invalidHandshakes {
		f.Add([]byte(r.body))
	}
	for _, c := range captures {
		f.Add(readCapture(f, c.file))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		h, err := engineio.ReadHandshake(body)
		if err != nil {
			if h.SID != "" || len(err.Error()) > 2000 {
				t.Errorf("got %+v and an error of %d bytes", h, len(err.Error()))
			}
			return
		}
		query := engineio.Parse("EIO=4&transport=polling&sid=" + url.QueryEscape(h.SID))
		if query.SID != h.SID {
			t.Errorf("the sid %q in a query is parsed as %+v", h.SID, query)
		}
		if h.Lifetime() < 2*time.Second || h.Lifetime() > 3*time.Hour {
			t.Errorf("the lifetime is %s", h.Lifetime())
		}
	})
}
