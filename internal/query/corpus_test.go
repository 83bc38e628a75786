package query

import (
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the corpus anew")

// form is a text and its normal form.
type form struct {
	name, text, want string
	mode             Mode
}

const corpusFile = "testdata/forms.txt"

// corpus reads the texts and their normal forms: a name behind #, which may say [ansi] or [plain], the text, => and the form. What begins with a double quote is quoted as in Go.
func corpus(t testing.TB) (all []form) {
	t.Helper()
	b, err := os.ReadFile(corpusFile)
	if err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(strings.TrimSpace(string(b)), "\n\n") {
		head, rest, ok := strings.Cut(part, "\n")
		if !ok || !strings.HasPrefix(head, "# ") {
			t.Fatalf("no form: %s", part)
		}
		text, want, _ := strings.Cut(rest, "\n=> ")
		f := form{name: head[2:], text: text, want: want, mode: Mode{ANSIQuotes: strings.Contains(head, "[ansi]"), NoBackslashEscapes: strings.Contains(head, "[plain]")}}
		for _, s := range []*string{&f.text, &f.want} {
			if strings.HasPrefix(*s, `"`) {
				if *s, err = strconv.Unquote(*s); err != nil {
					t.Fatalf("%s: %v", f.name, err)
				}
			}
		}
		all = append(all, f)
	}
	return all
}

// TestCorpus holds the normal forms to what was looked at and found right; each has a fingerprint of its own.
func TestCorpus(t *testing.T) {
	all := corpus(t)
	if len(all) < 80 {
		t.Fatalf("%d forms", len(all))
	}
	seen := map[string]string{}
	var out strings.Builder
	for _, f := range all {
		got := string(Append(nil, []byte(f.text), f.mode))
		if got != f.want && !*update {
			t.Errorf("%s: %s\n got %q\nwant %q", f.name, f.text, got, f.want)
		}
		if other := seen[got]; other != "" && !strings.Contains(f.name, "first corpus") { // which has some texts for one form
			t.Errorf("%s and %s have one form: %s", f.name, other, got)
		}
		seen[got] = f.name
		out.WriteString("# " + f.name + "\n" + quoted(f.text) + "\n=> " + quoted(got) + "\n\n")
	}
	if *update {
		if err := os.WriteFile(corpusFile, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func quoted(s string) string {
	if strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\n' || r == '\ufffd' || r == '\u00a0' }) || s == "" {
		return strconv.Quote(s)
	}
	return s
}
