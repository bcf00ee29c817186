package demo

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// account is one line of the chart of accounts. Its balance is on the side that is normal for its type:
// debit for assets and expenses, credit for the others.
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
	PostedBy string    `json:"postedBy"` // the server that took it
}

const (
	receivableCode = "1100"
	salesCode      = "4000"
	// maxInvoices is how many invoices are remembered. Balances keep those that are forgotten.
	maxInvoices = 200
)

// ledger are what the BigCapital servers share. They balance at all times. Safe for concurrent use.
type ledger struct {
	mu         sync.Mutex
	accounts   []account
	invoices   []invoice // oldest first
	lastNumber int       // number of the newest invoice
}

func newLedger() *ledger {
	b := &ledger{lastNumber: 1000, accounts: []account{
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
	b.post("Fern & Field Bakery", 4_860_00, "bigcapital-server-1")
	b.post("Northside Cycles", 7_620_00, "bigcapital-server-2")
	return b
}

// post enters an invoice that has been checked.
func (b *ledger) post(customer string, amount cents, server string) invoice {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lastNumber++
	posted := invoice{fmt.Sprintf("INV-%d", b.lastNumber), customer, amount, time.Now().UTC().Truncate(time.Second), server}
	b.invoices = append(b.invoices, posted)
	if over := len(b.invoices) - maxInvoices; over > 0 {
		b.invoices = slices.Delete(b.invoices, 0, over)
	}
	for i := range b.accounts {
		if code := b.accounts[i].Code; code == receivableCode || code == salesCode {
			b.accounts[i].Balance += amount
		}
	}
	return posted
}

// chartOfAccounts returns the accounts, by code.
func (b *ledger) chartOfAccounts() []account {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.accounts)
}

// newestInvoices returns the invoices, newest first.
func (b *ledger) newestInvoices() []invoice {
	b.mu.Lock()
	defer b.mu.Unlock()
	newest := slices.Clone(b.invoices)
	slices.Reverse(newest)
	return newest
}
