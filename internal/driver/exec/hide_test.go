package exec

import (
	"strings"
	"testing"
)

func TestHide(t *testing.T) {
	h, err := newHider(map[string]string{"TOKEN": `p"ss w/rd+1`, "KEY": "-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----"})
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		`login with p"ss w/rd+1 failed`:                    "login with *** failed",
		`{"got": "p\"ss w/rd+1"}`:                          `{"got": "***"}`,
		"GET /?k=p%22ss+w%2Frd%2B1&a=1":                    "GET /?k=***&a=1",
		"line MIIEvQIBADANBg of it":                        "line *** of it",
		"password=hunter22, user=a":                        "password=***, user=a",
		`{"api_key": "f00", "a": 1}`:                       `{"api_key": "***", "a": 1}`,
		"OUR_SECRET: abc def":                              "OUR_SECRET: *** def",
		"CREATE USER a IDENTIFIED BY 'it s' REQUIRE SSL":   "CREATE USER a IDENTIFIED BY *** REQUIRE SSL",
		"CREATE USER a IDENTIFIED VIA ed25519 USING 'x y'": "CREATE USER a IDENTIFIED VIA ed25519 USING ***",
		"Authorization: Bearer abcdefghij.klm":             "Authorization: Bearer ***",
		"clone https://bot:tok@git.example/a":              "clone https://bot:***@git.example/a",
		"started orders-1 at 10.0.0.1:3306 in 3 s":         "started orders-1 at 10.0.0.1:3306 in 3 s",
		"the basic plan has 3 tokens":                      "the basic plan has 3 tokens",
	} {
		if got := h.hide(in); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
	if _, err := newHider(map[string]string{"PIN": "1234"}); err == nil || !strings.Contains(err.Error(), "PIN") || strings.Contains(err.Error(), "1234") {
		t.Errorf("a secret that can't be hidden: %v", err)
	}
	if got := (hider{}).hide("token=abcdef"); got != "token=***" {
		t.Errorf("without secrets: %s", got)
	}
}
