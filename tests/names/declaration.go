package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
)

// declaration is a name that a Go file declares: its own, its package's, a type's, a member's, a local's.
type declaration struct {
	name     string
	dir      string // from the top of the checkout, with slashes
	position string // FILE:LINE
	kind     kind
}

type kind int

const (
	anything    kind = iota // a type, a constant, a variable or a member
	packageName             // the name of a package
	fileName                // the name of a file, without its ending
	function                // a function or a method
	local                   // a parameter, a result or a variable of a function
)

func declarationsOf(path, dir string) ([]declaration, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("read the declarations: %w", err)
	}
	base := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".go"), "_test")
	all := []declaration{
		{base, dir, path, fileName},
		{strings.TrimSuffix(file.Name.Name, "_test"), dir, path, packageName},
	}
	add := func(k kind, names ...*ast.Ident) {
		for _, id := range names {
			if id != nil && id.Name != "_" {
				all = append(all, declaration{id.Name, dir, files.Position(id.Pos()).String(), k})
			}
		}
	}
	for _, decl := range file.Decls {
		fn, isFunc := decl.(*ast.FuncDecl)
		inside := anything
		if isFunc {
			add(function, fn.Name)
			inside = local
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				add(inside, n.Name)
			case *ast.ValueSpec:
				add(inside, n.Names...)
			case *ast.StructType:
				addMembers(n.Fields, add)
			case *ast.InterfaceType:
				addMembers(n.Methods, add)
			case *ast.FuncType:
				for _, list := range []*ast.FieldList{n.Params, n.Results} {
					if list != nil {
						for _, f := range list.List {
							add(local, f.Names...)
						}
					}
				}
			case *ast.AssignStmt:
				if n.Tok == token.DEFINE {
					for _, e := range n.Lhs {
						if id, ok := e.(*ast.Ident); ok {
							add(local, id)
						}
					}
				}
			case *ast.RangeStmt:
				if n.Tok == token.DEFINE {
					for _, e := range []ast.Expr{n.Key, n.Value} {
						if id, ok := e.(*ast.Ident); ok {
							add(local, id)
						}
					}
				}
			}
			return true
		})
	}
	return all, nil
}

func addMembers(list *ast.FieldList, add func(kind, ...*ast.Ident)) {
	for _, f := range list.List {
		k := anything
		if _, isMethod := f.Type.(*ast.FuncType); isMethod && len(f.Names) == 1 {
			k = function
		}
		add(k, f.Names...)
	}
}
