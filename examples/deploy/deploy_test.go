package deploy_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wskit/wskit"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// find is what stands behind a word of the manifest, which comes once.
func find(t *testing.T, manifest, word, value string) string {
	t.Helper()
	all := regexp.MustCompile(regexp.QuoteMeta(word)+value).FindAllStringSubmatch(manifest, -1)
	if len(all) != 1 {
		t.Fatalf("%q is there %d times", word, len(all))
	}
	return all[0][1]
}

func TestTheNumbersOfTheManifestFitEachOther(t *testing.T) {
	manifest := regexp.MustCompile(`(?m)(^|\s)#.*$`).ReplaceAllString(read(t, "kubernetes.yaml"), "")
	seconds := func(word string) time.Duration {
		n, _ := strconv.Atoi(find(t, manifest, word, `:\s*(\d+)`))
		return time.Duration(n) * time.Second
	}
	flag := func(name string) time.Duration {
		d, _ := time.ParseDuration(find(t, manifest, name, `,\s*(\w+)`))
		return d
	}
	delay, window := flag("-delay"), flag("-spread")
	probe := seconds("periodSeconds") * seconds("failureThreshold") / time.Second
	switch {
	case window <= 0 || probe <= 0:
		t.Fatal(window, probe)
	case delay < probe:
		t.Errorf("the port closes after %v, before the probe has failed often enough: %v", delay, probe)
	case seconds("terminationGracePeriodSeconds") < delay+window+wskit.DefaultDrainTimeout+wskit.DefaultHandlerTimeout:
		t.Error("the process is killed before it is done")
	case seconds("minReadySeconds") < delay+window:
		t.Error("the windows of two pods overlap")
	}
}

// What is built is there, and has the flags and the path that it is run with.
func TestTheManifestIsOfTheProgram(t *testing.T) {
	manifest, program := read(t, "kubernetes.yaml"), read(t, "../chat/main.go")
	if !strings.Contains(read(t, "Dockerfile"), "./examples/chat") {
		t.Error("the image is of another program")
	}
	args := strings.Split(find(t, manifest, "args: [", `([^\]]*)\]`), ",")
	for i := 0; i < len(args); i += 2 {
		if name := strings.Trim(args[i], " -"); !strings.Contains(program, `("`+name+`", `) {
			t.Errorf("the program has no flag -%s", name)
		}
	}
	if path := find(t, manifest, "path: ", `(/\w+)`); !strings.Contains(program, `"GET `+path+`", c.hub.Ready()`) {
		t.Errorf("the program does not answer %s", path)
	}
}
