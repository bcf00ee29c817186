package demo

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// account is one line of the chart of accounts. Its balance is a debit for assets and expenses, and a credit for the other
// types.
type account struct {
	Code    string `json:"code"`
	Name    string `json:"name"`
	Type    string `json:"type"` // asset, liability, equity, income or expense
	Balance cents  `json:"balance"`
}

// invoice is a posted invoice.
type invoice struct {
	Number   string    `json:"number"`
	Customer string    `json:"customer"`
	Amount   cents     `json:"amount"`
	Posted   time.Time `json:"posted"`
	PostedBy string    `json:"postedBy"` // the server that posted it
}

const (
	receivableCode = "1100"
	salesCode      = "4000"
	// maxInvoices is how many invoices the ledger keeps. The balances include those that it has dropped.
	maxInvoices = 200
)

// ledger holds the accounts and invoices that the BigCapital servers share. Debits always equal credits. It is safe for
// concurrent use.
type ledger struct {
	mu         sync.Mutex
	accounts   []account
	invoices   []invoice // oldest first
	lastNumber int       // of the newest invoice
}

func newLedger() *ledger {
	l := &ledger{lastNumber: 1000, accounts: []account{
		{"1010", "Operating bank account", "asset", 84_210_55},
		{"1020", "Petty cash", "asset", 320_00},
		{receivableCode, "Accounts receivable", "asset", 0},
		{"1200", "Inventory", "asset", 9_640_25},
		{"1500", "Workshop equipment", "asset", 23_500_00},
		{"2000", "Accounts payable", "liability", 7_310_00},
		{"2100", "Sales tax payable", "liability", 2_106_00},
		{"3000", "Owner's equity", "equity", 95_000_00},
		{salesCode, "Sales", "income", 75_920_00},
		{"4100", "Consulting", "income", 8_300_00},
		{"5000", "Cost of goods sold", "expense", 18_930_40},
		{"6100", "Rent", "expense", 9_000_00},
		{"6200", "Salaries", "expense", 41_750_00},
		{"6300", "Software subscriptions", "expense", 1_284_80},
	}}
	l.post("Fern & Field Bakery", 4_860_00, "bigcapital-server-1")
	l.post("Northside Cycles", 7_620_00, "bigcapital-server-2")
	return l
}

// post adds a validated invoice and updates the balances.
func (l *ledger) post(customer string, amount cents, server string) invoice {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastNumber++
	posted := invoice{fmt.Sprintf("INV-%d", l.lastNumber), customer, amount, time.Now().UTC().Truncate(time.Second), server}
	l.invoices = append(l.invoices, posted)
	if over := len(l.invoices) - maxInvoices; over > 0 {
		l.invoices = slices.Delete(l.invoices, 0, over)
	}
	for i := range l.accounts {
		if code := l.accounts[i].Code; code == receivableCode || code == salesCode {
			l.accounts[i].Balance += amount
		}
	}
	return posted
}

// chartOfAccounts returns the accounts, in the order of their codes.
func (l *ledger) chartOfAccounts() []account {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.accounts)
}

// newestInvoices returns the invoices, newest first.
func (l *ledger) newestInvoices() []invoice {
	l.mu.Lock()
	defer l.mu.Unlock()
	newest := slices.Clone(l.invoices)
	slices.Reverse(newest)
	return newest
}
