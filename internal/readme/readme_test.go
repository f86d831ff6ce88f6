// Package readme_test compiles the programs that the README shows, and tries its configurations.
package readme_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestThePrograms(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
	if len(blocks) == 0 {
		t.Fatal("the README shows no Go")
	}
	// Inside the module, so that imports resolve as they do here, and under a name that ./... passes over.
	dir, err := os.MkdirTemp(root, "_readme")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for i, block := range blocks {
		program := filepath.Join(dir, strconv.Itoa(i))
		if err := os.Mkdir(program, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(program, "main.go"), []byte(block[1]), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("go", "vet", ".")
		cmd.Dir = program
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("program %d: %v\n%s\n%s", i+1, err, out, block[1])
		}
		cmd = exec.Command("gofmt", "-l", program)
		if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "" {
			t.Errorf("program %d is not formatted: %s %v", i+1, out, err)
		}
	}
}
