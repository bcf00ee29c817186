package hint_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/theworklabs/edge/internal/hint"
)

func TestTheOutermostHintIsFound(t *testing.T) {
	cause := errors.New("no such service")
	err := hint.New(fmt.Errorf("roll out: %w", hint.New(cause, "inner")), "outer")
	if got := hint.Of(err); got != "outer" {
		t.Errorf("got %q", got)
	}
	if got := hint.Of(fmt.Errorf("wrapped: %w", hint.New(cause, "inner"))); got != "inner" {
		t.Errorf("got %q", got)
	}
	if hint.Of(cause) != "" || hint.Of(nil) != "" {
		t.Error("an error without a hint has one")
	}
	if err.Error() != "roll out: no such service" || !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}
