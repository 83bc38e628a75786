package web

import (
	"html"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

var (
	rowName  = regexp.MustCompile(`<th scope="row"><a href="/clusters/qa/([^"]+)">`)
	nextLink = regexp.MustCompile(`rel="next" href="([^"]+)"`)
	chipOf   = regexp.MustCompile(`<a class="chip ?[a-z]*" href="([^"]+)"( aria-current="true")?>([a-z-]+) <b>(\d+)</b>`)
)

func names(body string) (all []string) {
	for _, m := range rowName.FindAllStringSubmatch(body, -1) {
		all = append(all, m[1])
	}
	return all
}

// TestAThousandClustersAreShownInPages walks all pages of an environment, and filters by stage, state, hold and name: the address says what is shown, the
// counts are of all clusters, and nothing is shown twice or never.
func TestAThousandClustersAreShownInPages(t *testing.T) {
	f, base := serve(t, true)
	f.big = 1000
	v := newVisitor(t, base)
	get := func(path string) string {
		t.Helper()
		code, body := v.get(path)
		if code != http.StatusOK {
			t.Fatalf("%s: %d", path, code)
		}
		return body
	}
	body := get("/")
	if n := len(body); n > 200<<10 {
		t.Errorf("the page has %d kB", n>>10)
	}
	if !strings.Contains(body, `id="env-prod"`) || !strings.Contains(body, "1 to 50 of <b>1000</b>") {
		t.Error("the first page has not both environments, or does not say what it shows")
	}
	counts := map[string]string{}
	links := map[string]string{}
	for _, m := range chipOf.FindAllStringSubmatch(body, -1) {
		if strings.Contains(m[1], "env=qa") {
			counts[m[3]], links[m[3]] = m[4], html.UnescapeString(m[1])
		}
	}
	for name, want := range map[string]string{"failed": "1", "running": "143", "waiting": "142", "held": "572", "arrived": "142", "limit": "286", "soak": "143", "approval": "143", "create": "429", "verify": "1", "switch-storage": "142"} {
		if counts[name] != want {
			t.Errorf("%s: %s are counted, want %s", name, counts[name], want)
		}
	}
	seen := map[string]int{}
	pages := 0
	for path := "/?env=qa"; path != ""; pages++ {
		body := get(path)
		for _, n := range names(body) {
			seen[n]++
		}
		path = ""
		if m := nextLink.FindStringSubmatch(body); m != nil {
			path = html.UnescapeString(m[1])
		}
		if strings.Contains(body, `id="env-prod"`) {
			t.Fatal("prod is on a page of qa")
		}
	}
	if len(seen) != 1000 || pages != 20 {
		t.Errorf("%d clusters on %d pages", len(seen), pages)
	}
	for n, times := range seen {
		if times != 1 {
			t.Errorf("%s is shown %d times", n, times)
		}
	}
	if got := names(get(links["failed"])); len(got) != 1 || got[0] != "shard-0777" {
		t.Errorf("failed: %v", got)
	}
	for path, want := range map[string]string{
		"/?env=qa&hold=approval":                  "1 to 50 of <b>143</b> that are like that, of 1000",
		"/?env=qa&stage=create&state=held":        "of <b>286</b>",
		"/?env=qa&name=SHARD-099":                 "1 to 10 of <b>10</b>",
		"/?env=qa&hold=soak&page=3":               "101 to 143 of <b>143</b>",
		"/?env=qa&hold=soak&page=999":             "101 to 143 of <b>143</b>",
		"/?env=qa&page=-1":                        "1 to 50 of <b>1000</b>",
		"/?env=qa&page=x":                         "1 to 50 of <b>1000</b>",
		"/?name=nobody":                           "No cluster of prod is like that.",
		"/?name=" + url.QueryEscape(`"><script>`): `value="&#34;&gt;&lt;script&gt;"`,
	} {
		if body := get(path); !strings.Contains(body, want) {
			t.Errorf("%s: %q is not there", path, want)
		}
	}
	if chosen := chipOf.FindAllStringSubmatch(get("/?env=qa&hold=soak"), -1); len(chosen) == 0 {
		t.Error("no counts beside a filter")
	} else {
		for _, m := range chosen {
			if m[2] != "" && (m[3] != "soak" || strings.Contains(m[1], "hold=")) {
				t.Errorf("chosen: %v", m)
			}
		}
	}
	if code, _ := v.get("/?env=nowhere"); code != http.StatusNotFound {
		t.Errorf("an environment that there is not: %d", code)
	}
}

// TestAThousandClustersInTheBrowser: the page fits wide and narrow, light and dark; keys alone find a cluster; and what is being typed survives the page's
// keeping itself new.
func TestAThousandClustersInTheBrowser(t *testing.T) {
	f, base := serve(t, true)
	f.big = 1000
	ctx := browser(t)
	for _, look := range []struct {
		name  string
		w, h  int64
		theme string
	}{{"wide-light", 1280, 900, "light"}, {"narrow-dark", 390, 900, "dark"}} {
		if err := chromedp.Do(ctx, chromedp.EmulateViewport(look.w, look.h), theme(look.theme), chromedp.Navigate(base+"/?env=qa&hold=soak"), chromedp.WaitVisible("nav.pager")); err != nil {
			t.Fatalf("%s: %v", look.name, err)
		}
		if evaluate[bool](t, ctx, `document.documentElement.scrollWidth > document.documentElement.clientWidth + 1`) {
			t.Errorf("%s: the page is wider than the window", look.name)
		}
		if dir := os.Getenv("WINDLASS_SHOTS"); dir != "" {
			shot, err := chromedp.Run(ctx, chromedp.Screenshot("main"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "thousand-"+look.name+".png"), shot, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(base+"/?env=qa"), chromedp.WaitVisible("nav.pager")); err != nil {
		t.Fatal(err)
	}
	wait(t, ctx, `document.getElementById("live").textContent === "live"`)
	evaluate[bool](t, ctx, `(() => { document.querySelector('input[name=name]').focus(); return true; })()`)
	if err := chromedp.Do(ctx, chromedp.KeyEvent("shard-07")); err != nil {
		t.Fatal(err)
	}
	evaluate[bool](t, ctx, `(() => { document.querySelector("td.note").dataset.old = "yes"; return true; })()`)
	f.move("catch-up")
	wait(t, ctx, `document.querySelector("td[data-old]") === null && document.querySelectorAll("table.board tbody tr").length === 50`)
	if evaluate[string](t, ctx, `document.activeElement.name + "=" + document.activeElement.value`) != "name=shard-07" {
		t.Error("what was being typed is lost when the page keeps itself new")
	}
	if err := chromedp.Do(ctx, chromedp.KeyEvent("77\r"), chromedp.WaitVisible(`a[href="/clusters/qa/shard-0777"]`)); err != nil {
		t.Fatal(err)
	}
	wait(t, ctx, `document.querySelectorAll("table.board tbody tr").length === 1 && document.querySelector("table.board tbody th").textContent === "shard-0777" && location.search.includes("name=shard-0777")`)
}
