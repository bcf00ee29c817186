package acme

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// certmagicAttempts returns the times of certmagic's attempts in the first hour, as durations since the first. The schedule is not
// part of certmagic's API, so the test reads it from the source that the edge is built from.
func certmagicAttempts(t *testing.T) (at []time.Duration) {
	t.Helper()
	var after time.Duration
	for _, wait := range retryIntervals(t) {
		if at = append(at, after); after+wait >= time.Hour {
			return at
		}
		after += wait
	}
	t.Fatal("the schedule ends within an hour")
	return nil
}

// retryIntervals returns how long certmagic waits after each attempt.
func retryIntervals(t *testing.T) (waits []time.Duration) {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/caddyserver/certmagic").Output()
	if err != nil {
		t.Fatalf("find certmagic's source: %v", err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(dir)), "async.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != "retryIntervals" || len(spec.Values) != 1 {
			return true
		}
		list, ok := spec.Values[0].(*ast.CompositeLit)
		if !ok {
			return true
		}
		for _, element := range list.Elts {
			wait, err := evalDuration(element)
			if err != nil {
				t.Fatalf("certmagic's retryIntervals: %v", err)
			}
			waits = append(waits, wait)
		}
		return false
	})
	if len(waits) == 0 {
		t.Fatal("certmagic's async.go has no retryIntervals")
	}
	return waits
}

// evalDuration evaluates an expression such as 10 * time.Minute.
func evalDuration(e ast.Expr) (time.Duration, error) {
	product, ok := e.(*ast.BinaryExpr)
	if !ok || product.Op != token.MUL {
		return 0, fmt.Errorf("%T is not a product", e)
	}
	number, isNumber := product.X.(*ast.BasicLit)
	unit, isUnit := product.Y.(*ast.SelectorExpr)
	if !isNumber || !isUnit {
		return 0, fmt.Errorf("product of %T and %T", product.X, product.Y)
	}
	n, err := strconv.Atoi(number.Value)
	units := map[string]time.Duration{"Second": time.Second, "Minute": time.Minute, "Hour": time.Hour}
	if err != nil || units[unit.Sel.Name] == 0 {
		return 0, fmt.Errorf("%s times %s (%v)", number.Value, unit.Sel.Name, err)
	}
	return time.Duration(n) * units[unit.Sel.Name], nil
}
