package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/policy"
)

// The plan page says what the policy says: hops, order, proof on each cell, the rule that forbids.
func TestPlanPage(t *testing.T) {
	_, url := serve(t, true)
	for path, want := range map[string]struct {
		status int
		parts  []string
	}{
		"/plan":                                                                 {http.StatusOK, []string{"<option>vitess</option>"}},
		"/plan?product=vitess&from=4.0&to=6.0":                                  {http.StatusOK, []string{"4.0 → 5.0", "5.0 → 6.0", "upgrade vttablet", "mysqlctld 4.0</b>", "4.0 + 5.0", "VEP-3"}},
		"/plan?product=mysql&from=8.4&to=9.7":                                   {http.StatusOK, []string{"switch source to an upgraded node", "no way back behind it", "Guards:"}},
		"/plan?product=vitess&from=6.0&to=7.0&canary=vtgate":                    {http.StatusUnprocessableEntity, []string{"There is no path from 6.0 to 7.0", "vtgate is never newer than vttablet"}},
		"/plan?product=oracle&from=1&to=2":                                      {http.StatusUnprocessableEntity, []string{"is not known", "built in are"}},
		"/plan?product=vitess&state=vtgate%3D14.0%2Cvttablet%3D13.0":            {http.StatusOK, []string{"The state is legal", "vtgate 14.0</b> meets <b>vttablet 13.0", "VEP-3"}},
		"/plan?product=vitess&state=vtgate%3D15.0%2Cvttablet%40a%2F1%3D13.0":    {http.StatusOK, []string{"not legal", "vttablet 13.0 in a/1", "skew[0]"}},
		"/plan?product=vitess&state=vtgait%3D15.0":                              {http.StatusUnprocessableEntity, []string{"can&#39;t be read", "did you mean", "^"}},
		"/plan?product=vitess&state=":                                           {http.StatusUnprocessableEntity, []string{"No component is given"}},
		"/plan?product=oracle&state=db%3D1":                                     {http.StatusUnprocessableEntity, []string{"is not known"}},
		"/plan?product=mariadb&window=on&state=source%3D11.8%2Creplica%3D10.11": {http.StatusOK, []string{"The state is legal", "Guards:"}},
		"/plan?product=vitess&from=6.0":                                         {http.StatusUnprocessableEntity, []string{"Two versions are needed"}},
		"/plan?product=vitess&from=%3Cscript%3E&to=7.0":                         {http.StatusUnprocessableEntity, []string{"&lt;script&gt;"}},
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

// Spec knows a campaign over a bridge, the same when the bridge has expired, and one with a policy of its own.
func (f *fixture) Spec(_ context.Context, name string) (campaign.Campaign, error) {
	c := campaign.Defaults()
	c.Name, c.Product, c.From, c.To = name, "mysql", "8.0", "9.7"
	b := policy.Bridge{Name: "eight-to-nine", Product: "mysql", From: "8.0", To: "9.7", Builds: []string{"8.0.44", "9.7.0"}, Who: "mira<b>", Expires: noon.AddDate(0, 1, 0),
		Evidence: []policy.Evidence{{Check: "replay of two days", Result: "pass", At: noon.AddDate(0, 0, -3)}}}
	switch name {
	case "bridged":
	case "expired":
		b.Expires = noon.Add(-time.Hour)
	case "ours":
		c.Product, c.From, c.To = "shop", "1", "2"
		c.Policy = campaign.NewPolicy("shop.yaml", "kind: Product\nversion: 1\nname: shop\nreleases: [\"1\", \"2\"]\nlayers: [l]\ncomponents: [{name: copy, layer: l}, {name: lead, layer: l, role_of: copy}]\ncalls: [{from: copy, to: lead, source: our notes}]\nskew: [{callee_older: 1, callee_newer: 1, source: our notes}]\nhops: {to: next, source: our notes}\n")
		return c, nil
	default:
		return c, ErrNotFound
	}
	c.Bridges = []policy.Bridge{b}
	return c, nil
}

// The page of a campaign's path shows its bridge with who vouches for it and by what, and its own policy.
func TestPlanPageOfACampaign(t *testing.T) {
	_, url := serve(t, true)
	for name, want := range map[string]struct {
		status      int
		parts, none []string
	}{
		"bridged": {http.StatusOK, []string{"Path of bridged", "Bridge eight-to-nine: 8.0 → 9.7", "<b>8.0.44</b> and <b>9.7.0</b>", "mira&lt;b&gt;", "replay of two days: <b>pass</b>", "2026-11-18", "8.0 → 9.7</h2>", "the bridge that mira", "the bridge eight-to-nine makes them neighbours", `aria-describedby="proof-0-replica-0"`, `id="proof-0-replica-0"`}, []string{"not good now", "8.4"}},
		"expired": {http.StatusOK, []string{"not good now", "expired on 2026-11-21", "No stage starts over it; what runs goes on, and the way back is free", "it takes 2 hops", "8.0 → 8.4</h2>"}, []string{"the bridge that mira"}},
		"ours":    {http.StatusOK, []string{"own policy, <b>shop.yaml</b>", "1 → 2</h2>", "our notes", "windlass plan --product-file shop.yaml --from 1 --to 2"}, []string{"Bridge", "<form method=\"get\" action=\"/plan\""}},
		"other":   {http.StatusNotFound, nil, nil},
	} {
		r, err := http.Get(url + "/plan?campaign=" + name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		if err := r.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if err != nil || r.StatusCode != want.status {
			t.Errorf("%s: %v, status %d, want %d", name, err, r.StatusCode, want.status)
		}
		for _, part := range want.parts {
			if !strings.Contains(string(b), part) {
				t.Errorf("%s does not show %q", name, part)
			}
		}
		for _, part := range want.none {
			if strings.Contains(string(b), part) {
				t.Errorf("%s shows %q", name, part)
			}
		}
	}
}

// The path of a campaign fits a wide and a narrow window in both themes, and pointing at a cell shows its proof there; with WINDLASS_SHOTS it
// keeps the pictures.
func TestPlanPageOfACampaignInTheBrowser(t *testing.T) {
	_, url := serve(t, true)
	ctx := browser(t)
	for _, width := range []int64{1280, 390} {
		for _, look := range []string{"light", "dark"} {
			for _, name := range []string{"bridged", "expired"} {
				if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 900), theme(look), chromedp.Navigate(url+"/plan?campaign="+name), chromedp.WaitVisible(".plan")); err != nil {
					t.Fatal(err)
				}
				at := fmt.Sprintf("%s, %d, %s", name, width, look)
				if evaluate[bool](t, ctx, `document.documentElement.scrollWidth > document.documentElement.clientWidth + 1`) {
					t.Errorf("%s: the page is wider than the window", at)
				}
				box := evaluate[[]float64](t, ctx, `(() => { const c = document.querySelector(".plan td.mixed"); c.scrollIntoView({block: "center"}); const b = c.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()`)
				if err := chromedp.Do(ctx, chromedp.MouseEvent(chromedp.MouseMoved, box[0], box[1])); err != nil {
					t.Fatal(err)
				}
				wait(t, ctx, `(() => { const p = document.querySelector(".plan td.mixed .proof"), b = p.getBoundingClientRect(); return getComputedStyle(p).display === "block" && b.left >= 0 && b.right <= innerWidth && b.bottom <= innerHeight; })()`)
				if dir := os.Getenv("WINDLASS_SHOTS"); dir != "" {
					shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
					if err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("plan-%s-%d-%s.png", name, width, look)), shot, 0o644); err != nil {
						t.Fatal(err)
					}
				}
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
