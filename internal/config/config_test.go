package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// sample has one key of every type.
type sample struct {
	Name  string                   `yaml:"name" rule:"required name" example:"a"`
	Count int                      `yaml:"count" rule:"min=1 max=9"`
	Share float64                  `yaml:"share" rule:"max=1"`
	On    bool                     `yaml:"on"`
	Wait  time.Duration            `yaml:"wait" rule:"min=1s"`
	At    Clock                    `yaml:"at"`
	Day   Date                     `yaml:"day"`
	Since Moment                   `yaml:"since"`
	Tags  []string                 `yaml:"tags" rule:"unique oneof=red|green"`
	Waits map[string]time.Duration `yaml:"waits" rule:"max=1h"`
	Inner *inner                   `yaml:"inner"`
	List  []inner                  `yaml:"list"`
	plain string                   //lint:ignore U1000 a field that is not exported is no key
	Skip  string
}

type inner struct {
	Host string `yaml:"host" rule:"required hostport" example:"a:1"`
	Note string `yaml:"note" rule:"max=5"`
}

func sampleKind() Kind {
	return Define("Sample", "", nil, func(s *sample, r *Report) sample { return *s })
}

const head = "kind: Sample\nversion: 1\nname: a\n"

func read(t *testing.T, text string) (sample, Problems) {
	t.Helper()
	objects, problems := Read([]Source{{"s.yaml", []byte(text)}}, sampleKind())
	if len(problems) > 0 {
		return sample{}, problems
	}
	if len(objects) != 1 {
		t.Fatalf("%d objects", len(objects))
	}
	return objects[0].Value.(sample), nil
}

func TestEveryTypeIsRead(t *testing.T) {
	s, problems := read(t, head+`count: 3
share: 0.5
on: true
wait: 1d12h
at: "24:00"
day: 2026-12-24
since: 2026-12-24 18:30
tags: [red, green]
waits: {a: 90s, b: 0s}
inner: {host: "[::1]:3306"}
list:
  - host: db.example.test:1
    note: é€
  - {host: 10.0.0.1:65535}
`)
	if problems != nil {
		t.Fatal(problems)
	}
	berlin, err := LoadZone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(s.Count, s.Share, s.On, s.Wait, s.At, s.Day, s.Since.In(berlin).UTC().Format(time.RFC3339), s.Tags, s.Waits, s.Inner.Host, len(s.List), s.List[0].Note)
	got = strings.TrimSpace(got)
	if want := "3 0.5 true 36h0m0s 24:00 2026-12-24 2026-12-24T17:30:00Z [red green] map[a:1m30s b:0s] [::1]:3306 2 é€"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// found is the problems as "line:column code path".
func found(ps Problems) string {
	var parts []string
	for _, p := range ps {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%d:%d %s %s", p.Line, p.Column, p.Code, p.Path)))
	}
	return strings.Join(parts, "; ")
}

func TestProblems(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty file":              {"", "1:1 missing"},
		"nothing but comments":    {"# a\n---\n# b\n", "1:1 missing"},
		"not a mapping":           {"hello", "1:1 type"},
		"nothing in the document": {"kind: Sample\nversion: 1\n", "1:1 missing name"},
		"name of the wrong type":  {"kind: Sample\nversion: 1\nname: {a: b}\n", "3:7 type name"},
		"true for text":           {"kind: Sample\nversion: 1\nname: true\n", "3:7 type name"},
		"number for true":         {head + "on: 1", "4:5 type on"},
		"yes for true":            {head + "on: yes", "4:5 type on"},
		"text for a number":       {head + `count: "3"`, "4:8 type count"},
		"fraction":                {head + "count: 3.5", "4:8 type count"},
		"huge number":             {head + "count: 99999999999999999999", "4:8 type count"},
		"not a number":            {head + "share: .nan", "4:8 type share"},
		"infinite":                {head + "share: .inf", "4:8 type share"},
		"too small, too large":    {head + "count: 0\nshare: 2", "4:8 range count; 5:8 range share"},
		"duration without unit":   {head + "wait: 10", "4:7 value wait"},
		"duration too short":      {head + "wait: 10ms", "4:7 range wait"},
		"duration too long":       {head + "wait: 9999999w", "4:7 value wait"},
		"duration in a mapping":   {head + "waits: {a: 2h, b: x}", "4:12 range waits.a; 4:19 value waits.b"},
		"time of day":             {head + "at: 9:00", "4:5 value at"},
		"date":                    {head + "day: 2026-02-30", "4:6 value day"},
		"moment":                  {head + "since: yesterday", "4:8 value since"},
		"one word for a list":     {head + "tags: red", "4:7 type tags"},
		"word of a list":          {head + "tags: [red, blue]", "4:13 value tags[1]"},
		"twice in a list":         {head + "tags: [red, green, red]", "4:20 duplicate tags[2]"},
		"list for a mapping":      {head + "inner: [a]", "4:8 type inner"},
		"no value":                {head + "inner:\ncount:\n", "4:1 type inner; 5:1 type count"},
		"too long":                {head + "inner: {host: a:1, note: abcdef}", "4:26 range inner.note"},
		"ports": {head + "list: [{host: a}, {host: a:0}, {host: a:70000}, {host: 'a:b:c'}, {host: 'a b:1'}, {host: 1.2.3:1}]",
			"4:15 value list[0].host; 4:26 value list[1].host; 4:39 value list[2].host; 4:56 value list[3].host; 4:73 value list[4].host; 4:90 value list[5].host"},
		"unknown keys":         {head + "cuont: 1\nfoo: 2\ninner: {host: a:1, hots: b}", "4:1 unknown-key cuont; 5:1 unknown-key foo; 6:20 unknown-key inner.hots"},
		"fields without a tag": {head + "plain: x\nSkip: y", "4:1 unknown-key plain; 5:1 unknown-key Skip"},
		"duplicate keys":       {head + "count: 1\ncount: 2\ncount: 3", "5:1 duplicate-key count; 6:1 duplicate-key count"},
		"the first one counts": {head + "count: 0\ncount: 2", "4:8 range count; 5:1 duplicate-key count"},
		"merge keys":           {head + "x: &x {host: a:1}\ninner:\n  <<: *x\n", "4:1 unknown-key x; 6:3 syntax inner; 6:3 missing inner.host"},
		"unknown anchor":       {head + "inner: *x", "4:8 reference inner"},
		"tags":                 {head + "count: !!int 3", "4:8 syntax count"},
		"two syntax errors":    {"kind: [\n---\nkind: Sample\nversion: 1\nname: \"a\n", "1:7 syntax; 5:7 syntax"},
		"second document":      {head + "---\nkind: Sample\nversion: 1\nname: b\ncount: x\n", "8:8 type count"},
		"same name twice":      {head + "---\n" + head, "7:7 duplicate name"},
		"document end":         {head + "...\n" + head, "1:1 syntax"},
		"tab":                  {head + "inner:\n\thost: a:1\n", "5:1 syntax"},
		"value on the marker":  {"--- {kind: Sample, version: 1, name: A}\n", "1:38 value name"},
		"windows line ends":    {strings.ReplaceAll(head+"count: x\n", "\n", "\r\n"), "4:8 type count"},
		"byte order mark":      {"\ufeff" + head + "count: x\n", "4:8 type count"},
		"many characters":      {head + "inner: {note: ééé, host: x}", "4:26 value inner.host"},
		"other version":        {"kind: Sample\nversion: 2\nname: a\n", "2:10 value version"},
		"no version":           {"kind: Sample\nname: a\n", "1:1 missing version"},
		"other kind":           {"kind: Simple\nversion: 1\nname: a\n", "1:7 value kind"},
		"no kind":              {"version: 1\nname: a\n", "1:1 missing kind"},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := read(t, c.text)
			if got := found(problems); got != c.want {
				t.Errorf("got  %s\nwant %s\n%v", got, c.want, problems)
			}
			for _, p := range problems {
				if p.Hint == "" {
					t.Errorf("it is not said what to write: %v", p)
				}
			}
		})
	}
}

func TestAliasesStandForTheirValue(t *testing.T) {
	s, problems := read(t, head+"inner: &i {host: a:1}\nlist: [*i, *i]\n")
	if problems != nil || len(s.List) != 2 || s.List[1].Host != "a:1" {
		t.Fatalf("got %+v, %v", s, problems)
	}
	// What is wrong in an alias is marked where the alias is used as well as where it is defined.
	_, problems = read(t, head+"inner: &i {host: a}\nlist: [*i]\n")
	if got, want := found(problems), "4:18 value inner.host; 5:8 value list[0].host"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Aliases of aliases must not eat the memory.
func TestAliasBombEndsSoon(t *testing.T) {
	var b strings.Builder
	b.WriteString(head + "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	start := time.Now()
	_, problems := read(t, b.String())
	if len(problems) == 0 || time.Since(start) > 30*time.Second {
		t.Errorf("%d problems after %s", len(problems), time.Since(start))
	}
	if !slices.ContainsFunc(problems, func(p Problem) bool { return strings.Contains(p.Message, "aliases") }) {
		t.Errorf("the aliases were not refused:\n%v", problems)
	}
}

// An alias of what it stands in is one problem, where it stands: not one for each of its endless copies.
func TestAnAliasInsideOfItself(t *testing.T) {
	for text, want := range map[string]string{
		"list: &a [*a, *a]\n":                        "4:11 reference list[0]; 4:15 reference list[1]",
		"list: &a [{host: &b [*a]}, *b]\n":           "",
		"inner: &i {host: a:1}\nlist: &a [*i, *a]\n": "5:15 reference list[1]",
	} {
		_, problems := read(t, head+text)
		if got := found(problems); want != "" && got != want || want == "" && (len(problems) == 0 || len(problems) > 4) {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestDeepNestingIsRefused(t *testing.T) {
	_, problems := read(t, head+"foo: "+strings.Repeat("[", 60)+strings.Repeat("]", 60)+"\n")
	if !slices.ContainsFunc(problems, func(p Problem) bool { return strings.Contains(p.Message, "nested too deep") }) {
		t.Errorf("got %v", problems)
	}
}

func TestProblemsComeInTheOrderOfFilesAndLines(t *testing.T) {
	sources := []Source{{"z.yaml", []byte(head + "count: x\nfoo: 1\n")}, {"a.yaml", []byte("kind: Sample\nversion: 1\nname: b\nfoo: 1\ncount: x\n")}}
	var first string
	for range 20 {
		_, problems := Read(sources, sampleKind())
		var got []string
		for _, p := range problems {
			got = append(got, fmt.Sprintf("%s:%d", p.File, p.Line))
		}
		if want := "[z.yaml:4 z.yaml:5 a.yaml:4 a.yaml:5]"; fmt.Sprint(got) != want {
			t.Fatalf("got %v, want %s", got, want)
		}
		if first == "" {
			first = problems.Error()
		}
		if problems.Error() != first {
			t.Fatal("the messages differ from one reading to the next")
		}
	}
}

func TestGoodDocumentsAreReadBesideBadOnes(t *testing.T) {
	objects, problems := Read([]Source{{"s.yaml", []byte(head + "---\nkind: Sample\nversion: 1\nname: b\ncount: x\n")}}, sampleKind())
	if len(objects) != 1 || objects[0].Name != "a" || len(problems) != 1 {
		t.Errorf("got %+v, %v", objects, problems)
	}
}

func TestProblemsAsJSON(t *testing.T) {
	_, problems := read(t, head+"cuont: 3\n")
	text, err := json.Marshal(problems)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"file":"s.yaml","line":4,"column":1,"path":"cuont","code":"unknown-key","message":"there is no key \"cuont\" here","hint":"did you mean \"count\"?","source":"cuont: 3"}]`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestLongLinesAreCut(t *testing.T) {
	_, problems := read(t, head+"inner: {host: a:1, note: \""+strings.Repeat("é", 300)+"\", foo: 1}\n")
	for _, line := range strings.Split(problems.Error(), "\n") {
		if n := len([]rune(line)); n > 200 {
			t.Errorf("a line has %d characters: %s", n, line)
		}
	}
	lines := strings.Split(problems[1].String(), "\n")
	at := strings.IndexByte(lines[2], '^')
	if got := string([]rune(lines[1])[at:]); !strings.HasPrefix(got, "foo: 1") {
		t.Errorf("the caret is at %q:\n%v", got, problems[1])
	}
}

func TestLocate(t *testing.T) {
	objects, problems := Read([]Source{{"s.yaml", []byte("# x\n" + head + "tags:\n  - red\n  - green\n")}}, sampleKind())
	if problems != nil {
		t.Fatal(problems)
	}
	got := objects[0].Locate([]Finding{{Path: "tags[1]", Code: CodeReference, Message: "b"}, {Path: "name", Code: CodeReference, Message: "a"}, {Path: "inner.host", Code: CodeMissing, Message: "c"}, {Path: "tags[x]", Message: "d"}})
	if want := "0:0  tags[x]; 2:1 missing inner.host; 4:7 reference name; 7:5 reference tags[1]"; found(got) != want {
		t.Errorf("got %s, want %s", found(got), want)
	}
}

func TestReadFiles(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a.yaml")
	if err := os.WriteFile(name, []byte(head), 0o600); err != nil {
		t.Fatal(err)
	}
	objects, err := ReadFiles([]string{name}, sampleKind())
	if err != nil || len(objects) != 1 {
		t.Errorf("got %v, %v", objects, err)
	}
	if _, err := ReadFiles([]string{filepath.Join(dir, "none.yaml")}, sampleKind()); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("a file that is not there gives %v", err)
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "0s": 0, "2d": 48 * time.Hour, "1w": 168 * time.Hour, "1d12h": 36 * time.Hour, "1.5h": 90 * time.Minute, "250ms": 250 * time.Millisecond, "10µs": 10 * time.Microsecond} {
		got, err := ParseDuration(text)
		if err != nil || got != want {
			t.Errorf("%s is read as %s, %v", text, got, err)
		}
		again, err := ParseDuration(FormatDuration(got))
		if err != nil || again != got {
			t.Errorf("%s is written as %s, which is read as %s, %v", got, FormatDuration(got), again, err)
		}
	}
	for _, text := range []string{"", "5", "-1s", "d", "1 d", "1x", "1..5s", "s1", "1h-5m", "1e3s", "99999999999999999999h"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q is accepted as %s", text, got)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"per_stage", "per_launch", "stages", "environments"}
	for got, want := range map[string]string{"perStage": "per_stage", "per-stage": "per_stage", "per_stge": "per_stage", "enviroments": "environments", "stgaes": "stages", "x": "", "limit": ""} {
		if s := nearest(got, words); s != want {
			t.Errorf("%q suggests %q, not %q", got, s, want)
		}
	}
}

// Whatever is typed, reading ends with objects or with problems that have a place in the file.
func FuzzRead(f *testing.F) {
	for _, dir := range []string{"../fleet/testdata", "../campaign/testdata"} {
		names, _ := filepath.Glob(filepath.Join(dir, "*.yaml"))
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(text))
		}
	}
	f.Add(head + "inner: &i {host: a:1}\nlist: [*i, *i]\nsince: 2026-12-24 18:30\n")
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.NewReplacer("kind: Fleet", "kind: Sample", "kind: Campaign", "kind: Sample").Replace(text)
		objects, problems := Read([]Source{{"s.yaml", []byte(text)}}, sampleKind())
		if len(objects) == 0 && len(problems) == 0 {
			t.Fatal("neither an object nor a problem")
		}
		lines := strings.Count(text, "\n") + 1
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines+1 || p.Column < 1 || p.Message == "" {
				t.Fatalf("a problem without a place: %+v", p)
			}
			_ = p.String()
		}
	})
}

// A secret that somebody wrote into a file by mistake is not shown with the problem.
func TestSecretsAreNotShown(t *testing.T) {
	for line, want := range map[string]string{
		"password: hunter2":                             "password: *******",
		`  admin: {user: a, password: "hun,ter", x: 1}`: `  admin: {user: a, password: ****************`,
		"API_TOKEN: abc # mine":                         "API_TOKEN: **********",
		"password_file: secrets/admin":                  "password_file: secrets/admin",
		`passwords: [a, b]`:                             "passwords: ******",
		"token_file: t":                                 "token_file: t",
	} {
		if got := hideSecrets(line); got != want {
			t.Errorf("%q is shown as %q, want %q", line, got, want)
		}
	}
	_, problems := Read([]Source{{"s.yaml", []byte(head + "password: hunter2\n")}}, sampleKind())
	if len(problems) == 0 || strings.Contains(problems.Error(), "hunter2") {
		t.Errorf("shown: %v", problems)
	}
}
