package demo

import (
	"encoding/json"
	"testing"
)

func TestCentsInJSON(t *testing.T) {
	for text, want := range map[string]cents{
		"0": 0, "1": 100, "1.5": 150, "1.05": 105, "0.01": 1, "-0.01": -1, "-3": -300, "84210.55": 8421055, "999999999999.99": 99999999999999,
	} {
		var got cents
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for value, want := range map[cents]string{0: "0.00", 1: "0.01", -1: "-0.01", 150: "1.50", 8421055: "84210.55", -300: "-3.00"} {
		if got, err := json.Marshal(value); err != nil || string(got) != want {
			t.Errorf("%d: %s, %v", value, got, err)
		}
	}
}

// FuzzCents checks that an amount does not change when it is encoded and decoded again.
func FuzzCents(f *testing.F) {
	for _, text := range []string{"1", "-1.5", "0.005", "1e9", `"1"`, "null", "9999999999999999999", "-0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var first, second cents
		if json.Unmarshal([]byte(text), &first) != nil {
			return
		}
		out, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &second); err != nil || first != second {
			t.Errorf("%s is %d, and its encoding %s is %d, %v", text, first, out, second, err)
		}
	})
}
