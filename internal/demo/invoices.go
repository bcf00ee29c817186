package demo

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"
)

const (
	bodyLimit     = 100 << 10     // bytes; BigCapital's limit for JSON
	customerLimit = 120           // characters
	amountLimit   = 10_000_000_00 // cents; no sum of such amounts overflows a balance
)

// draft is the invoice in a client's request.
type draft struct {
	Customer string `json:"customer"`
	Amount   cents  `json:"amount"`
}

func (b *bigCapital) listInvoices(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		Server   string    `json:"server"`
		Invoices []invoice `json:"invoices"`
	}{b.name, b.ledger.newestInvoices()})
}

func (b *bigCapital) postInvoice(w http.ResponseWriter, r *http.Request) {
	// A form on a page of another site can send other types, but not this one.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		writeError(w, http.StatusUnsupportedMediaType, "send application/json")
		return
	}
	d, err := readDraft(http.MaxBytesReader(w, r.Body, bodyLimit))
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		writeError(w, http.StatusRequestEntityTooLarge, "request entity too large")
		return
	}
	if err == nil {
		err = d.validate()
	}
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	posted := b.ledger.post(d.Customer, d.Amount, b.name)
	b.log(b.name, "invoice posted")
	writeJSON(w, http.StatusCreated, struct {
		Server  string  `json:"server"`
		Invoice invoice `json:"invoice"`
	}{b.name, posted})
}

// readDraft reads the whole body first, so that a body over the limit and a body that is not JSON give different errors.
func readDraft(body io.Reader) (d draft, err error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return d, err
	}
	switch err := json.Unmarshal(text, &d); {
	case errors.Is(err, errInvalidAmount):
		return d, errInvalidAmount
	case err != nil:
		return d, errors.New("body must be a JSON object with customer and amount")
	}
	d.Customer = strings.TrimSpace(d.Customer)
	return d, nil
}

// validate returns an error with a message for users if the draft cannot be posted.
func (d draft) validate() error {
	switch {
	case d.Customer == "":
		return errors.New("customer is missing")
	case utf8.RuneCountInString(d.Customer) > customerLimit:
		return errors.New("customer is longer than 120 characters")
	case d.Amount <= 0:
		return errors.New("amount must be more than zero")
	case d.Amount > amountLimit:
		return errors.New("amount is over 10,000,000")
	}
	return nil
}
