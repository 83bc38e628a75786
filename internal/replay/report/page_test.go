package report

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

func theme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
		return err
	})
}

func evaluate[T any](t *testing.T, ctx context.Context, js string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](js))
	if err != nil {
		t.Fatalf("%s: %v", js, err)
	}
	return v
}

// TestPageInTheBrowser opens the page, wide and narrow, light and dark, sorts it with the keyboard, and follows a link to a finding; with WINDLASS_SHOTS it
// keeps the pictures.
func TestPageInTheBrowser(t *testing.T) {
	name := filepath.Join(t.TempDir(), "report.html")
	if err := Save(name, fixture()); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(name))))
	defer s.Close()
	ctx := browser(t)
	for _, look := range []struct {
		name  string
		w, h  int64
		theme string
	}{{"narrow-dark", 390, 900, "dark"}, {"wide-light", 1280, 900, "light"}} {
		if err := chromedp.Do(ctx, chromedp.EmulateViewport(look.w, look.h), theme(look.theme), chromedp.Navigate(s.URL+"/report.html"), chromedp.WaitVisible("#main")); err != nil {
			t.Fatal(err)
		}
		if evaluate[bool](t, ctx, `document.documentElement.scrollWidth > document.documentElement.clientWidth + 1`) {
			t.Errorf("%s: the page is wider than the window", look.name)
		}
		if title := evaluate[string](t, ctx, `document.title`); strings.Contains(title, "owned") {
			t.Errorf("the text of a query ran as a script")
		}
		if dir := os.Getenv("WINDLASS_SHOTS"); dir != "" {
			shot, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "report-"+look.name+".png"), shot, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	const kinds = `Array.from(document.querySelectorAll("table.sorts")[0].tBodies[0].rows).map(function (r) { return r.cells[1].textContent }).join(" ")`
	before := evaluate[string](t, ctx, kinds)
	if err := chromedp.Do(ctx, chromedp.Focus(`table.sorts thead th:nth-child(2) button`), chromedp.KeyEvent("\r")); err != nil {
		t.Fatal(err)
	}
	after := strings.Fields(evaluate[string](t, ctx, kinds))
	if diff := cmp.Diff([]string{"content", "error", "latency", "order", "plan", "row-count", "syntax"}, after); diff != "" {
		t.Errorf("sorted by kind with the keyboard (from %s): %s", before, diff)
	}
	const last = `document.querySelector("details.finding:last-of-type")`
	if evaluate[bool](t, ctx, last+`.open`) {
		t.Fatal("it is open from the start")
	}
	evaluate[string](t, ctx, `location.hash = `+last+`.id`)
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](last+`.open`, chromedp.WithPollingTimeout(30*time.Second))); err != nil {
		t.Errorf("a link to a finding does not open it: %v", err)
	}
}

// TestPartialNeedsNothingInline: the dashboard's content security policy forbids style and script within a page.
func TestPartialNeedsNothingInline(t *testing.T) {
	body, err := Partial(fixture())
	if err != nil {
		t.Fatal(err)
	}
	for _, never := range []string{"<style", "<script", " style=", " onclick=", "<link", "<h1", "javascript:"} {
		if strings.Contains(string(body), never) {
			t.Errorf("the partial has %s", never)
		}
	}
	if !strings.Contains(string(body), "&lt;script&gt;") {
		t.Error("the fixture's own script is not shown as text")
	}
	if !strings.Contains(string(body), "gateway orders-blue ended without telling") {
		t.Error("that a gateway was killed is not shown")
	}
	var b bytes.Buffer
	if err := Page(&b, fixture()); err != nil {
		t.Fatal(err)
	}
	for _, never := range []string{"http://", "https://", " src="} {
		if strings.Contains(b.String(), never) {
			t.Errorf("the page loads something: %s", never)
		}
	}
}
