package node

import "testing"

func TestPosition(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "",
		"0-1-5":                    "0-1-5",
		" 1-2-3 , 0-1-5 ":          "0-1-5,1-2-3",
		"0-1-5,0-2-7,0-1-6":        "0-2-7", // of a domain the highest counts, whoever wrote it
		"0-1-18446744073709551615": "0-1-18446744073709551615",
	} {
		p, err := ParsePosition(text)
		if err != nil || p.String() != want {
			t.Errorf("%q: %q, %v", text, p, err)
		}
	}
	for _, text := range []string{"0-1", "0-1-2-3", "a-1-2", "0-b-2", "0-1-c", "-1-1-1", "4294967296-1-1"} {
		if p, err := ParsePosition(text); err == nil {
			t.Errorf("%q: %q", text, p)
		}
	}
	for _, c := range []struct {
		have, want string
		reaches    bool
	}{
		{"", "", true}, {"0-1-5", "", true}, {"", "0-1-5", false}, {"0-2-5", "0-1-5", true}, {"0-1-4", "0-1-5", false}, {"0-1-9", "0-1-5,1-1-1", false}, {"0-1-9,1-1-1", "0-1-5,1-1-1", true},
	} {
		have, err := ParsePosition(c.have)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ParsePosition(c.want)
		if err != nil {
			t.Fatal(err)
		}
		if have.Reaches(want) != c.reaches {
			t.Errorf("%q reaches %q: %v", c.have, c.want, !c.reaches)
		}
	}
}

func TestQuote(t *testing.T) {
	if got := Quote("it's \\ \x00"); got != `'it''s \\ \0'` {
		t.Error(got)
	}
	if got := Table("a`b", "c"); got != "`a``b`.`c`" {
		t.Error(got)
	}
}
