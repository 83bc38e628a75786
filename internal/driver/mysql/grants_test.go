package mysql

import (
	"os"
	"strings"
	"testing"
)

// The page for people says what the account needs, in the words of the code. The tests of this package, of the copying and of the
// comparing of data log in on the old servers with exactly that.
func TestGrantsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../../docs/nodes.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "<!-- grants -->\n")
	got, _, ok2 := strings.Cut(rest, "<!-- end -->")
	want := "```sql\n"
	for _, p := range [][2]string{{"MariaDB", "mariadb"}, {"MySQL", "mysql"}} {
		want += "-- " + p[0] + "\n" + strings.Join(Grants(p[1], "windlass"), ";\n") + ";\n"
	}
	if want += "```\n"; !ok || !ok2 || got != want {
		t.Errorf("docs/nodes.md lists\n%s\nand the code\n%s", got, want)
	}
}
