package wskit_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"testing"
)

// Whatever a hub can be told by an option, one that somebody else's actor spawns can be told by its hubactor.Config: an option writes there,
// and nowhere else in the Hub. Where the hub is spawned, and under which name, says who spawns it.
func TestEveryHubOptionWritesIntoTheConfig(t *testing.T) {
	elsewhere := map[string]string{"WithActorSystem": "system", "WithName": "name"}
	files, _ := filepath.Glob("*.go")
	options := 0
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Type.Results == nil {
				continue
			}
			if result, ok := fn.Type.Results.List[0].Type.(*ast.Ident); !ok || result.Name != "HubOption" {
				continue
			}
			options++
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				of, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if hub, ok := of.X.(*ast.Ident); ok && hub.Name == "h" && of.Sel.Name != "cfg" && of.Sel.Name != elsewhere[fn.Name.Name] {
					t.Errorf("%s writes into the Hub's %s: hubactor.Config has no field for it", fn.Name.Name, of.Sel.Name)
				}
				return true
			})
		}
	}
	if options < 30 {
		t.Error("only", options, "options found")
	}
}
