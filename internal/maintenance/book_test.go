package maintenance_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/maintenance"
)

// names returns the services of closures, in their order.
func names(closures []*maintenance.Closure) string {
	var all []string
	for _, c := range closures {
		all = append(all, c.Service)
	}
	return strings.Join(all, " ")
}

func TestABookIsNeverChanged(t *testing.T) {
	var none *maintenance.Book
	one := none.With(closure("b:80"))
	two := one.With(closure("a:80"))
	if names(none.Closures()) != "" || names(one.Closures()) != "b:80" || names(two.Closures()) != "a:80 b:80" {
		t.Errorf("%v %v %v", none.Closures(), one.Closures(), two.Closures())
	}
	if left := two.Without("b:80", "c:80"); names(left.Closures()) != "a:80" || names(two.Closures()) != "a:80 b:80" {
		t.Errorf("%v of %v", left.Closures(), two.Closures())
	}
	if none.Closure("b:80") != nil || two.Closure("c:80") != nil || two.Closure("b:80") != one.Closure("b:80") {
		t.Error("a closure is not the one that was put in")
	}
}

func TestANewOrderKeepsTheBeginning(t *testing.T) {
	book := new(maintenance.Book).With(closure("a:80"))
	book = book.With(closure("a:80", func(c *maintenance.Closure) { c.Since, c.Hold = time.Now(), true }))
	if c := book.Closure("a:80"); !c.Hold || !c.Since.Equal(time.Unix(1e9, 0)) {
		t.Errorf("%+v", c)
	}
}

func TestABookSurvivesBeingWritten(t *testing.T) {
	allow, err := maintenance.ParseAllowed([]string{"10.0.0.0/8", "::1"})
	if err != nil {
		t.Fatal(err)
	}
	book := new(maintenance.Book).With(closure("b:80"), closure("a:80", func(c *maintenance.Closure) {
		c.Hold, c.Allow, c.Message = true, allow, "<b>"
	}))
	text, err := json.Marshal(book)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"services":[` +
		`{"service":"a:80","since":"2001-09-09T01:46:40Z","hold":true,"allow":["10.0.0.0/8","::1/128"],"retry_after":"1m0s","message":"\u003cb\u003e"},` +
		`{"service":"b:80","since":"2001-09-09T01:46:40Z","retry_after":"1m0s"}]}`
	if string(text) != want {
		t.Errorf("wrote\n%s, want\n%s", text, want)
	}
	read := new(maintenance.Book)
	if err := json.Unmarshal(text, read); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(read)
	if err != nil || string(again) != want {
		t.Errorf("%v %s", err, again)
	}
	if empty, err := json.Marshal(new(maintenance.Book)); err != nil || string(empty) != `{"services":[]}` {
		t.Errorf("%v %s", err, empty)
	}
}

func TestWhatIsNoBookIsNotTakenForOne(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                    "unexpected end",
		`[]`:                   "cannot unmarshal",
		`{"services": [null]}`: "an empty closure",
		`{"services": [{}]}`:   "without a service",
		`{"services": [{"service": "a:80", "retry_after": "soon"}]}`:                                         "want a time such as 5m",
		`{"services": [{"service": "a:80"}]}`:                                                                `service "a:80": retry_after 0s`,
		`{"services": [{"service": "a:80", "retry_after": "5m"}, {"service": "a:80", "retry_after": "5m"}]}`: "there twice",
		`{"services": [{"service": "a:80", "retry_after": "5m", "allow": ["x"]}]}`:                           "ParsePrefix",
	} {
		book := new(maintenance.Book).With(closure("kept:80"))
		if err := json.Unmarshal([]byte(text), book); err == nil || !strings.Contains(err.Error(), want) || names(book.Closures()) != "kept:80" {
			t.Errorf("%s: %v, %v", text, err, book.Closures())
		}
	}
}

// FuzzBook: what the storage has may be anybody's; a book that is read is as it should be, and is written as it was read.
func FuzzBook(f *testing.F) {
	f.Add([]byte(`{"services":[{"service":"a:80","since":"2001-09-09T01:46:40Z","hold":true,"allow":["10.0.0.0/8"],"retry_after":"1m0s","message":"x"}]}`))
	f.Add([]byte(`{"services":[{"service":"a:80","retry_after":"5m"},{"service":"b:80","retry_after":"1h","allow":[""]}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		book := new(maintenance.Book)
		if json.Unmarshal(text, book) != nil {
			return
		}
		for _, c := range book.Closures() {
			if err := c.Check(); err != nil || c.Over() == nil || book.Closure(c.Service) != c {
				t.Errorf("%v of %+v", err, c)
			}
		}
		written, err := json.Marshal(book)
		if err != nil {
			return // a year that RFC 3339 does not have: Go reads more than it writes
		}
		again := new(maintenance.Book)
		if err := json.Unmarshal(written, again); err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if rewritten, err := json.Marshal(again); err != nil || !reflect.DeepEqual(written, rewritten) {
			t.Errorf("%s became %s %v", written, rewritten, err)
		}
	})
}
