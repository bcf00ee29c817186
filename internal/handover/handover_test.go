package handover_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/handover"
)

// runs counts the runs of the test: parts can't be removed.
var runs int

func TestPartsAreHandedOverOnTheirOwn(t *testing.T) {
	runs++
	prefix := fmt.Sprintf("run %d ", runs)
	good := prefix + "good"
	var imported string
	handover.Register(good, handover.Part{
		Export: func() (json.RawMessage, error) { return json.RawMessage(`"known"`), nil },
		Import: func(value json.RawMessage) error { imported = string(value); return nil },
	})
	handover.Register(prefix+"empty", handover.Part{
		Export: func() (json.RawMessage, error) { return nil, nil },
		Import: func(json.RawMessage) error { return nil },
	})
	broken := errors.New("it is broken")
	handover.Register(prefix+"bad", handover.Part{
		Export: func() (json.RawMessage, error) { return nil, broken },
		Import: func(json.RawMessage) error { return broken },
	})
	all, err := handover.Export()
	if !errors.Is(err, broken) || len(all) != runs || string(all[good]) != `"known"` {
		t.Errorf("exported %s, %v", all, err)
	}
	all[prefix+"bad"], all["of another version"] = json.RawMessage(`1`), json.RawMessage(`2`)
	if err := handover.Import(all); !errors.Is(err, broken) || !strings.Contains(err.Error(), "bad: ") || imported != `"known"` {
		t.Errorf("imported %s, %v", imported, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("two parts have one name")
		}
	}()
	handover.Register(good, handover.Part{})
}
