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
			t.Errorf("%q is garbled, and yet %+v", query, q)
		}
		if q.SID == "" || strings.Contains(query, ";") {
			return // url.ParseQuery drops pairs with a semicolon, and servers don't
		}
		if len(q.SID) > engineio.MaxSID {
			t.Errorf("a sid of %d bytes", len(q.SID))
		}
		values, _ := url.ParseQuery(query) // with an error for other pairs, it has those that are good
		if sids := slices.Compact(values["sid"]); len(sids) != 1 || sids[0] != q.SID {
			t.Errorf("%q: sid %q, a server sees %q", query, q.SID, sids)
		}
	})
}

func FuzzHandshakeIsValidOrAnError(f *testing.F) {
	for _, form := range handshakeForms {
		f.Add("", []byte(form.body))
	}
	for _, r := range invalidHandshakes {
		f.Add("", []byte(r.body))
	}
	for _, c := range captures {
		f.Add(c.encoding, readCapture(f, c.file))
	}
	f.Fuzz(func(t *testing.T, encoding string, body []byte) {
		h, err := engineio.ReadHandshake(encoding, body)
		if err != nil {
			if h.SID != "" || len(err.Error()) > 2000 {
				t.Errorf("%+v beside an error of %d bytes", h, len(err.Error()))
			}
			return
		}
		asked := engineio.Parse("EIO=4&transport=polling&sid=" + url.QueryEscape(h.SID))
		if asked.SID != h.SID {
			t.Errorf("the sid %q comes back as %+v", h.SID, asked)
		}
		if h.Lifetime() < 2*time.Second || h.Lifetime() > 3*time.Hour {
			t.Errorf("the session lives for %s", h.Lifetime())
		}
	})
}
