// Package docs holds the written pages against the code.
package docs

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

var update = flag.Bool("update", false, "write the tables anew")

// TestStates holds the tables of states.md against the engine's transitions, the rules' codes and the strategy's data.
func TestStates(t *testing.T) {
	b, err := os.ReadFile("states.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for name, want := range map[string]string{"transitions": transitions(), "holds": holds(t), "bluegreen": stages(strategy.BlueGreen()), "inplace": stages(strategy.InPlace()), "rolling": stages(strategy.Rolling()), "contract": stages(strategy.Contract())} {
		begin, end := "<!-- "+name+" -->\n", "<!-- end -->"
		before, rest, ok := strings.Cut(page, begin)
		got, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("states.md has no part %s", name)
		}
		if got != want && !*update {
			t.Errorf("the table %q of states.md is not what the code says; write it anew with: go test ./docs -update", name)
		}
		page = before + begin + want + end + after
	}
	if *update {
		if err := os.WriteFile("states.md", []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func table(header string, rows [][]string) string {
	n := strings.Count(header, "|") + 1
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|%s\n", header, strings.Repeat("---|", n))
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(r, " | "))
	}
	return b.String()
}

func transitions() string {
	var rows [][]string
	for _, tr := range engine.Transitions() {
		rows = append(rows, []string{"`" + string(tr.From) + "`", "`" + string(tr.To) + "`", tr.When})
	}
	return table("from | to | when", rows)
}

// holds reads the codes with their comments from the source: they are documented in one place.
func holds(t *testing.T) string {
	f, err := parser.ParseFile(token.NewFileSet(), "../internal/campaign/codes.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 || !strings.HasPrefix(v.Names[0].Name, "Code") {
			return true
		}
		code, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		if err != nil || v.Comment == nil {
			t.Errorf("%s has no comment that says what it means", v.Names[0].Name)
			return true
		}
		rows = append(rows, []string{"`" + code + "`", strings.TrimSpace(v.Comment.Text()), campaign.Overridable()[code]})
		return true
	})
	if len(rows) == 0 {
		t.Fatal("no code was found in the source")
	}
	return table("code | meaning | an override", rows)
}

func stages(s strategy.Strategy) string {
	var rows [][]string
	for _, st := range s.Stages {
		for _, step := range st.Steps {
			back := step.Undoes
			switch {
			case st.PointOfNoReturn:
				back = "none: past the point of no return"
			case back == "":
				back = "nothing to undo"
			}
			rows = append(rows, []string{st.Name, "`" + string(step.Kind) + "`", step.Does, step.Proves, back})
		}
	}
	return table("stage | step | does | proves | way back", rows)
}

var testName = regexp.MustCompile("`((?:Test|Benchmark|Fuzz)[A-Za-z0-9_]+)`")

// TestFeatures holds features.md to every requirement once, and to tests that there are.
func TestFeatures(t *testing.T) {
	b, err := os.ReadFile("features.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 {
			continue
		}
		id := strings.TrimSpace(cells[0])
		rows[id] = append(rows[id], line)
		state, shown := strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3])
		if state == "done" && !testName.MatchString(shown) {
			t.Errorf("%s is done, and no test is named that shows it", id)
		}
		if state != "done" && state != "part" && state != "open" && id != "id" && !strings.HasPrefix(id, "-") {
			t.Errorf("%s is %q, not done, part or open", id, state)
		}
	}
	for letter, n := range map[string]int{"V": 7, "H": 20, "C": 7, "G": 6, "B": 10} {
		for i := 1; i <= n; i++ {
			if id := letter + strconv.Itoa(i); len(rows[id]) != 1 {
				t.Errorf("%s has %d rows", id, len(rows[id]))
			}
		}
	}
	have := tests(t)
	for _, m := range testName.FindAllStringSubmatch(string(b), -1) {
		if !have[m[1]] {
			t.Errorf("there is no test %s", m[1])
		}
	}
}

// tests are the names of all test functions of the project.
func tests(t *testing.T) map[string]bool {
	found := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)[A-Za-z0-9_]+)\(`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(b, -1) {
			found[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)

// TestLinks follows every link of the pages to a file.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	design, err := filepath.Glob("design/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(append(pages, design...), "../README.md", "../CHANGELOG.md")
	found := 0
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			found++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", page, m[1])
			}
		}
	}
	if found == 0 {
		t.Error("no link was found: the pattern is wrong")
	}
}
