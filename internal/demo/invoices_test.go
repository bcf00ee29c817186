package demo_test

import (
	"math"
	"strings"
	"testing"
)

type accounts struct {
	Server   string
	Accounts []struct {
		Code, Name, Type string
		Balance          float64
	}
}

type invoices struct {
	Server   string
	Invoices []struct {
		Number, Customer, PostedBy string
		Amount                     float64
	}
}

func (s *runningDemo) post(n int, body string, header ...string) httpResult {
	s.t.Helper()
	header = append([]string{"Content-Type", "application/json"}, header...)
	return s.do("POST", s.url("bigcapital-server:3000", n, "/api/invoices"), body, header...)
}

func TestServersShareInvoices(t *testing.T) {
	s := startDemo(t)
	before := decode[invoices](t, s.get(s.url("bigcapital-server:3000", 1, "/api/invoices")))
	got := s.post(0, `{"customer":" Harbour Print Works ","amount":1250.5}`)
	if got.status != 201 || !strings.Contains(got.body, `"amount":1250.50`) {
		t.Fatalf("%d %s", got.status, got.body)
	}
	s.waitForLog("bigcapital-server-1: invoice posted")
	after := decode[invoices](t, s.get(s.url("bigcapital-server:3000", 1, "/api/invoices")))
	if after.Server != "bigcapital-server-2" || len(after.Invoices) != len(before.Invoices)+1 {
		t.Fatalf("got %+v, want one invoice more than %+v", after, before)
	}
	newest := after.Invoices[0]
	if newest.Customer != "Harbour Print Works" || newest.Amount != 1250.5 || newest.PostedBy != "bigcapital-server-1" {
		t.Errorf("newest invoice: %+v", newest)
	}
}

func TestLedgerBalances(t *testing.T) {
	s := startDemo(t)
	for range 2 {
		got := decode[accounts](t, s.get(s.url("bigcapital-server:3000", 0, "/api/accounts")))
		if got.Server != "bigcapital-server-1" || len(got.Accounts) < 10 {
			t.Fatalf("%+v", got)
		}
		sum := 0.0
		for _, account := range got.Accounts {
			switch account.Type {
			case "asset", "expense":
				sum += account.Balance
			case "liability", "equity", "income":
				sum -= account.Balance
			default:
				t.Errorf("%s has the type %q", account.Name, account.Type)
			}
		}
		if math.Abs(sum) > 0.001 {
			t.Errorf("debits exceed credits by %.2f", sum)
		}
		s.post(1, `{"customer":"Someone","amount":12.34}`)
	}
}

func TestInvoicesAreValidated(t *testing.T) {
	s := startDemo(t)
	for name, test := range map[string]struct {
		body   string
		status int
		want   string
	}{
		"not JSON":             {`customer=x`, 400, "must be a JSON object"},
		"empty":                {``, 400, "must be a JSON object"},
		"a list":               {`[]`, 400, "must be a JSON object"},
		"no customer":          {`{"amount":1}`, 400, "customer is missing"},
		"blank customer":       {`{"customer":"  ","amount":1}`, 400, "customer is missing"},
		"long customer":        {`{"customer":"` + strings.Repeat("é", 121) + `","amount":1}`, 400, "longer than 120"},
		"no amount":            {`{"customer":"x"}`, 400, "more than zero"},
		"negative":             {`{"customer":"x","amount":-0.01}`, 400, "more than zero"},
		"three decimals":       {`{"customer":"x","amount":1.001}`, 400, "two decimals"},
		"amount as a string":   {`{"customer":"x","amount":"1"}`, 400, "two decimals"},
		"amount with exponent": {`{"customer":"x","amount":1e3}`, 400, "two decimals"},
		"too much":             {`{"customer":"x","amount":10000000.01}`, 400, "over 10,000,000"},
		"longest name":         {`{"customer":"` + strings.Repeat("é", 120) + `","amount":10000000}`, 201, `"number":"INV-`},
		"100 kB":               {`{"customer":"x","amount":1}` + strings.Repeat(" ", 102400-27), 201, `"number":"INV-`},
		"one byte more":        {`{"customer":"x","amount":1}` + strings.Repeat(" ", 102400-26), 413, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.post(0, test.body); got.status != test.status || !strings.Contains(got.body, test.want) {
				t.Errorf("%d %s, want %d %s", got.status, got.body, test.status, test.want)
			}
		})
	}
}

func TestCrossOriginFormsCannotPost(t *testing.T) {
	s := startDemo(t)
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", ""} {
		if got := s.post(0, `{"customer":"x","amount":1}`, "Content-Type", kind); got.status != 415 {
			t.Errorf("%q: %d %s", kind, got.status, got.body)
		}
	}
}

func TestOldInvoicesAreDropped(t *testing.T) {
	s := startDemo(t)
	for range 205 {
		s.post(0, `{"customer":"x","amount":1}`)
	}
	got := decode[invoices](t, s.get(s.url("bigcapital-server:3000", 0, "/api/invoices")))
	if len(got.Invoices) != 200 || got.Invoices[0].Number != "INV-1207" {
		t.Errorf("got %d invoices, newest %s, want 200 up to INV-1207", len(got.Invoices), got.Invoices[0].Number)
	}
}
