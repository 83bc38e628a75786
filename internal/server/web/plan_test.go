package web

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// The plan page says what the policy says: hops, order, proof on each cell, the rule that forbids.
func TestPlanPage(t *testing.T) {
	_, url := serve(t, true)
	for path, want := range map[string]struct {
		status int
		parts  []string
	}{
		"/plan":                                              {http.StatusOK, []string{"<option>vitess</option>"}},
		"/plan?product=vitess&from=4.0&to=6.0":               {http.StatusOK, []string{"4.0 → 5.0", "5.0 → 6.0", "upgrade vttablet", "mysqlctld 4.0</b>", "4.0 + 5.0", "VEP-3"}},
		"/plan?product=mysql&from=8.4&to=9.7":                {http.StatusOK, []string{"switch source to an upgraded node", "no way back behind it", "Guards:"}},
		"/plan?product=vitess&from=6.0&to=7.0&canary=vtgate": {http.StatusUnprocessableEntity, []string{"There is no path from 6.0 to 7.0", "vtgate is never newer than vttablet"}},
		"/plan?product=oracle&from=1&to=2":                   {http.StatusUnprocessableEntity, []string{"is not known", "built in are"}},
		"/plan?product=vitess&from=6.0":                      {http.StatusUnprocessableEntity, []string{"Two versions are needed"}},
		"/plan?product=vitess&from=%3Cscript%3E&to=7.0":      {http.StatusUnprocessableEntity, []string{"&lt;script&gt;"}},
	} {
		r, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		if err := r.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if err != nil || r.StatusCode != want.status {
			t.Errorf("%s: %v, status %d, want %d", path, err, r.StatusCode, want.status)
		}
		for _, part := range want.parts {
			if !strings.Contains(string(b), part) {
				t.Errorf("%s does not show %q", path, part)
			}
		}
	}
}

// A cell's proof is read by the keyboard alone.
func TestPlanByKeyboard(t *testing.T) {
	_, url := serve(t, true)
	ctx := browser(t)
	if err := chromedp.Do(ctx, chromedp.Navigate(url+"/plan?product=vitess&from=13.0&to=14.0"), chromedp.WaitVisible(".plan")); err != nil {
		t.Fatal(err)
	}
	const shown = `[...document.querySelectorAll(".proof")].filter((p) => getComputedStyle(p).display !== "none").map((p) => p.textContent).join()`
	if s := evaluate[string](t, ctx, shown); s != "" {
		t.Errorf("shown before anybody asks: %s", s)
	}
	evaluate[bool](t, ctx, `(() => { document.querySelector("form.ask-plan button").focus(); return true; })()`)
	if err := chromedp.Do(ctx, chromedp.KeyEvent("\t")); err != nil {
		t.Fatal(err)
	}
	if s := evaluate[string](t, ctx, shown); !strings.Contains(s, "vtgate 13.0") || !strings.Contains(s, "VEP-3") {
		t.Errorf("the first cell shows %q", s)
	}
}
