package demo

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// cents is an amount of money. In JSON it is a number of dollars with two decimals, 84210.55.
type cents int64

var errInvalidAmount = errors.New("amount must be a number with at most two decimals")

// MarshalJSON implements json.Marshaler.
func (c cents) MarshalJSON() ([]byte, error) {
	sign, n := "", int64(c)
	if n < 0 {
		sign, n = "-", -n
	}
	return fmt.Appendf(nil, "%s%d.%02d", sign, n/100, n%100), nil
}

// UnmarshalJSON implements json.Unmarshaler. It accepts digits with at most two decimals. It rejects exponents and strings,
// because an amount must not be rounded as a float is.
func (c *cents) UnmarshalJSON(text []byte) error {
	whole, fraction, _ := strings.Cut(string(text), ".")
	if len(fraction) > 2 || len(whole) > len("-999999999999") {
		return errInvalidAmount
	}
	n, err := strconv.ParseInt(whole+(fraction + "00")[:2], 10, 64)
	if err != nil {
		return errInvalidAmount
	}
	*c = cents(n)
	return nil
}
