package catalog

import (
	"slices"
	"testing"
)

func facts(ids ...ID) *Catalog {
	c := &Catalog{Facts: map[ID]map[string]string{}}
	for _, id := range ids {
		c.Facts[id] = map[string]string{}
	}
	return c
}

// TestDiff: what is missing, added or other, in the order of kinds, and what is shown without being held against anybody.
func TestDiff(t *testing.T) {
	table, view := ID{KindTable, "app.t"}, ID{KindView, "app.v"}
	gone := ID{KindGrant, "GRANT SELECT ON `app`.`gone` TO `web`@`%`"}
	there := ID{KindGrant, "GRANT SELECT ON `app`.`t` TO `web`@`%`"}
	own := ID{KindGrant, "GRANT ALL PRIVILEGES ON *.* TO `me`@`%`"}
	old, new := facts(table, view, gone, there), facts(table, view, own)
	old.Accounts, new.Accounts = []Account{{User: "web", Host: "%"}}, []Account{{User: "me", Host: "%"}}
	old.Facts[table]["table collation"], new.Facts[table]["table collation"] = "utf8mb4_general_ci", "utf8mb4_uca1400_ai_ci"
	old.Facts[view]["view definition"], new.Facts[view]["view definition"] = "select 1", "select (1)"
	old.Facts[view]["definer"], new.Facts[view]["definer"] = "a@b", "c@d"
	new.Facts[table]["only here"] = "x"
	var got []string
	for _, d := range Diff(old, new, func(a Account) bool { return a.User == "me" }) {
		s := d.String()
		if d.Harmless {
			s += " (harmless)"
		}
		got = append(got, s)
	}
	want := []string{
		`table app.t: only here is "x", was ""`,
		`table app.t: table collation is "utf8mb4_uca1400_ai_ci", was "utf8mb4_general_ci"`,
		`view app.v: definer is "c@d", was "a@b"`,
		`view app.v: view definition is "select (1)", was "select 1" (harmless)`, // every version prints a view anew
		"grant GRANT ALL PRIVILEGES ON *.* TO `me`@`%` is there in addition (harmless)",
		"grant GRANT SELECT ON `app`.`gone` TO `web`@`%` is missing (harmless)", // on what is not there
		"grant GRANT SELECT ON `app`.`t` TO `web`@`%` is missing",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestGrantee(t *testing.T) {
	for grant, want := range map[string]string{
		"GRANT SELECT ON `a TO b`.* TO `web`@`10.%` WITH GRANT OPTION": "`web`@`10.%`",
		"GRANT `readers` TO `w x`@`%`":                                 "`w x`@`%`",
		"SET DEFAULT ROLE `readers` FOR `web`@`%`":                     "`web`@`%`",
		"nonsense": "",
	} {
		if got := grantee(grant); got != want {
			t.Errorf("%s: %q, want %q", grant, got, want)
		}
	}
}

// TestSecrets: no grant shows a password's hash.
func TestSecrets(t *testing.T) {
	for grant, want := range map[string]string{
		"GRANT USAGE ON *.* TO `w`@`%` IDENTIFIED BY PASSWORD '*ABC'":                                   "GRANT USAGE ON *.* TO `w`@`%`",
		"GRANT USAGE ON *.* TO `w`@`%` IDENTIFIED BY PASSWORD '*ABC' REQUIRE SSL":                       "GRANT USAGE ON *.* TO `w`@`%` REQUIRE SSL",
		"GRANT USAGE ON *.* TO `w`@`%` IDENTIFIED VIA ed25519 USING 'abc' WITH MAX_USER_CONNECTIONS 50": "GRANT USAGE ON *.* TO `w`@`%` WITH MAX_USER_CONNECTIONS 50",
		"GRANT PROXY ON ''@'%' TO 'root'@'localhost'":                                                   "GRANT PROXY ON ``@`%` TO `root`@`localhost`",
	} {
		if got := withoutSecret(grant); got != want {
			t.Errorf("%s: %q, want %q", grant, got, want)
		}
	}
}
