package mysql

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The design's table of rules names every check and every trap of this package, and no test that is not there.
func TestDesignNamesEveryCheckAndTest(t *testing.T) {
	b, err := os.ReadFile("../../../docs/design/switch.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, name := range CheckNames() {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("the check %s is not in the table", name)
		}
	}
	for _, s := range path {
		if !strings.Contains(page, s.name) {
			t.Errorf("the stride %s is not in the page", s.name)
		}
	}
	for n := 1; n <= 36; n++ {
		if n >= 23 && n <= 32 { // the gateway's own
			continue
		}
		if !strings.Contains(page, fmt.Sprintf("| trap %d: ", n)) {
			t.Errorf("trap %d is not in the table", n)
		}
	}
	have := map[string]bool{}
	for _, glob := range []string{"*_test.go", "../gateway/*_test.go"} {
		files, err := filepath.Glob(glob)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", glob, files, err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(text), -1) {
				have[m[1]] = true
			}
		}
	}
	for _, m := range regexp.MustCompile("`(Test\\w+)[`/]").FindAllStringSubmatch(page, -1) {
		if !have[m[1]] {
			t.Errorf("the page names %s, which is not there", m[1])
		}
	}
}
