// Package configtest holds the tests that every kind of document passes: each of its keys wrong once, with the expected message in
// a file beside it, and each of its keys misspelt once.
//
// The list of keys is made from the kind's shape, so a key that is added later without a file fails the test.
package configtest

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/windlass-db/windlass/internal/config"
)

var update = flag.Bool("update", false, "write the expected messages anew")

var index = regexp.MustCompile(`\[\d*\]`)

// FileName is the name of the file in which a key is wrong: "environments[].clusters[].labels.*" is in
// "environments.clusters.labels.any.bad.yaml".
func FileName(path string) string {
	return strings.ReplaceAll(index.ReplaceAllString(path, ""), "*", "any") + ".bad.yaml"
}

// EveryKeyWrong reads every *.bad.yaml of the folder, compares the problems with the *.txt beside it, and fails if a key of the kind has
// no file, or if a file's problems are about other keys.
func EveryKeyWrong(t *testing.T, dir string, kind config.Kind) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.bad.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, name := range names {
		base := filepath.Base(name)
		have = append(have, base)
		t.Run(base, func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			objects, problems := config.Read([]config.Source{{Name: base, Text: text}}, kind)
			if len(problems) == 0 {
				t.Fatalf("nothing was found wrong, and %d objects were made", len(objects))
			}
			compare(t, strings.TrimSuffix(name, ".bad.yaml")+".txt", problems.Error()+"\n")
			hit := false
			for _, p := range problems {
				if p.Line == 0 || p.Column == 0 || p.Hint == "" || p.File != base {
					t.Errorf("a problem lacks its place or what to write instead: %+v", p)
				}
				hit = hit || matches(base, p.Path)
			}
			if !hit && !strings.HasPrefix(base, "also-") {
				t.Errorf("no problem is about the file's key:\n%v", problems)
			}
		})
	}
	for _, k := range kind.Keys() {
		if !slices.Contains(have, FileName(k.Path)) {
			t.Errorf("the key %s of kind %s has no %s", k.Path, kind.Name, filepath.Join(dir, FileName(k.Path)))
		}
	}
}

// matches reports whether the problem's path is the one that the file is named after, "any" standing for one key.
func matches(file, path string) bool {
	want := strings.Split(strings.TrimSuffix(file, ".bad.yaml"), ".")
	got := strings.Split(index.ReplaceAllString(path, ""), ".")
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if want[i] != got[i] && want[i] != "any" {
			return false
		}
	}
	return true
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v (run the test with -update, and read what it writes)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the messages differ from %s (-want +got):\n%s", name, diff)
	}
}

var keyLine = regexp.MustCompile(`^(\s*(?:- )?)([a-z_]+)(:(?:\s.*)?)$`)

// EveryKeyMisspelt reads valid files of the kind, of which one must have every key on a line of its own somewhere, misspells one key after the
// other, and wants each to be found with the right suggestion at its line.
func EveryKeyMisspelt(t *testing.T, name string, kind config.Kind, more ...string) {
	t.Helper()
	want := map[string]bool{}
	for _, k := range kind.Keys() {
		if last := k.Path[strings.LastIndexByte(k.Path, '.')+1:]; last != "*" {
			want[last] = true
		}
	}
	names := append([]string{name}, more...)
	for _, name := range names {
		misspelt(t, name, kind, want)
	}
	for key := range want {
		t.Errorf("%s: no line with the key %q", strings.Join(names, ", "), key)
	}
}

func misspelt(t *testing.T, name string, kind config.Kind, want map[string]bool) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, problems := config.Read([]config.Source{{Name: name, Text: text}}, kind); len(problems) > 0 {
		t.Fatalf("the valid file is not:\n%v", problems)
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		m := keyLine.FindStringSubmatch(line)
		if m == nil || !want[m[2]] {
			continue
		}
		key := m[2]
		for _, wrong := range misspell(key) {
			changed := slices.Clone(lines)
			changed[i] = m[1] + wrong + m[3]
			_, problems := config.Read([]config.Source{{Name: name, Text: []byte(strings.Join(changed, "\n"))}}, kind)
			found := slices.ContainsFunc(problems, func(p config.Problem) bool {
				return p.Line == i+1 && p.Code == config.CodeUnknownKey && p.Hint == "did you mean \""+key+"\"?"
			})
			if !found && key != "kind" && key != "version" {
				t.Errorf("line %d: %q instead of %q was not found, or the wrong key was suggested:\n%v", i+1, wrong, key, problems)
			}
			if len(problems) == 0 {
				t.Errorf("line %d: %q instead of %q was accepted", i+1, wrong, key)
			}
		}
		delete(want, key)
	}
}

// misspell leaves a letter out, doubles one and swaps two, and writes the words together.
func misspell(key string) []string {
	n := len(key)
	wrong := []string{key[:n-1] + key[n-1:] + key[n-1:]}
	if n > 3 {
		wrong = append(wrong, key[:n/2]+key[n/2+1:])
		if key[1] != key[2] {
			wrong = append(wrong, key[:1]+key[2:3]+key[1:2]+key[3:])
		}
	}
	if head, tail, ok := strings.Cut(key, "_"); ok {
		wrong = append(wrong, head+strings.ToUpper(tail[:1])+tail[1:], head+"-"+tail)
	}
	return wrong
}
