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
	isLocal  bool   // a parameter, a result or a variable of a function
}

func declarationsOf(path, dir string) ([]declaration, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("read the declarations: %w", err)
	}
	base := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".go"), "_test")
	all := []declaration{
		{name: base, dir: dir, position: path},
		{name: strings.TrimSuffix(file.Name.Name, "_test"), dir: dir, position: path},
	}
	add := func(isLocal bool, names ...*ast.Ident) {
		for _, id := range names {
			if id != nil && id.Name != "_" {
				all = append(all, declaration{id.Name, dir, files.Position(id.Pos()).String(), isLocal})
			}
		}
	}
	for _, decl := range file.Decls {
		fn, isFunc := decl.(*ast.FuncDecl)
		if isFunc {
			add(false, fn.Name)
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				add(isFunc, n.Name)
			case *ast.ValueSpec:
				add(isFunc, n.Names...)
			case *ast.StructType:
				addFields(n.Fields, add)
			case *ast.InterfaceType:
				addFields(n.Methods, add)
			case *ast.FuncType:
				for _, list := range []*ast.FieldList{n.Params, n.Results} {
					if list != nil {
						for _, f := range list.List {
							add(true, f.Names...)
						}
					}
				}
			case *ast.AssignStmt:
				if n.Tok == token.DEFINE {
					for _, e := range n.Lhs {
						if id, ok := e.(*ast.Ident); ok {
							add(true, id)
						}
					}
				}
			case *ast.RangeStmt:
				if n.Tok == token.DEFINE {
					for _, e := range []ast.Expr{n.Key, n.Value} {
						if id, ok := e.(*ast.Ident); ok {
							add(true, id)
						}
					}
				}
			}
			return true
		})
	}
	return all, nil
}

func addFields(list *ast.FieldList, add func(bool, ...*ast.Ident)) {
	for _, f := range list.List {
		add(false, f.Names...)
	}
}
