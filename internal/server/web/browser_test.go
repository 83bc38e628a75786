package web

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// serve starts the pages over the fixture on loopback.
func serve(t *testing.T, open bool, change ...func(*Config)) (*fixture, string) {
	t.Helper()
	f := newFixture()
	cfg := Config{Source: f, Operator: f, Auth: f, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return noon }, OpenReads: open}
	for _, c := range change {
		c(&cfg)
	}
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return f, s.URL
}

// browser starts a headless Chromium. A machine without one fails the test: scripts/setup installs it.
func browser(t *testing.T, opts ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("the pages are tested in a real browser, and chromium is missing: run scripts/setup (%v)", err)
	}
	all := append([]chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("disable-quic", true),
		chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(60 * time.Second)}, opts...)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, all...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

// TestPagesInTheBrowser opens every page, wide and narrow, in light and dark; with WINDLASS_SHOTS it keeps the pictures.
func TestPagesInTheBrowser(t *testing.T) {
	_, url := serve(t, true)
	ctx := browser(t)
	for _, look := range []struct {
		name  string
		w, h  int64
		theme string
	}{{"wide-light", 1280, 900, "light"}, {"narrow-dark", 390, 900, "dark"}} {
		for name, path := range map[string]string{"overview": "/", "cluster": "/clusters/qa/stock", "campaign": "/campaigns/mariadb-11.8", "login": "/login", "forecast": "/campaigns/mariadb-11.8/forecast", "events": "/events", "plan": "/plan?product=vitess&from=4.0&to=6.0", "plan-canary": "/plan?product=vitess&from=13.0&to=14.0", "plan-state": "/plan?product=vitess&state=vtgate%3D15.0%2Cvttablet%40zone1%2F100%3D13.0", "plan-refused": "/plan?product=vitess&from=6.0&to=7.0&canary=vtgate"} {
			if err := chromedp.Do(ctx, chromedp.EmulateViewport(look.w, look.h), theme(look.theme), chromedp.Navigate(url+path), chromedp.WaitVisible("main")); err != nil {
				t.Fatalf("%s %s: %v", look.name, path, err)
			}
			if evaluate[bool](t, ctx, `document.documentElement.scrollWidth > document.documentElement.clientWidth + 1`) {
				t.Errorf("%s %s: the page is wider than the window", look.name, path)
			}
			if title := evaluate[string](t, ctx, `document.title`); strings.Contains(title, "owned") {
				t.Errorf("%s: the text of an event ran as a script", path)
			}
			if dir := os.Getenv("WINDLASS_SHOTS"); dir != "" {
				shot, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, name+"-"+look.name+".png"), shot, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func evaluate[T any](t *testing.T, ctx context.Context, js string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](js))
	if err != nil {
		t.Fatalf("%s: %v", js, err)
	}
	return v
}

// wait polls until the expression is true.
func wait(t *testing.T, ctx context.Context, js string) {
	t.Helper()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](js, chromedp.WithPollingTimeout(30*time.Second))); err != nil {
		t.Fatalf("never true: %s: %v", js, err)
	}
}

// TestPageFollowsTheServer sees a stage change without loading the page again.
func TestPageFollowsTheServer(t *testing.T) {
	f, url := serve(t, true)
	ctx := browser(t)
	const cell = `document.querySelector('td[data-stage=create] .box.running .text')?.textContent`
	if err := chromedp.Do(ctx, chromedp.Navigate(url+"/")); err != nil {
		t.Fatal(err)
	}
	wait(t, ctx, cell+` === "seed-nodes" && document.getElementById("live").textContent === "live"`)
	evaluate[bool](t, ctx, `window.sameDocument = true`)
	f.move("catch-up")
	wait(t, ctx, cell+` === "catch-up"`)
	if !evaluate[bool](t, ctx, `window.sameDocument === true`) {
		t.Error("the page was loaded anew")
	}
}

// TestForecastComesApart sees the campaign's page before its forecast, and the forecast put in when it is there: once, whatever happens meanwhile.
func TestForecastComesApart(t *testing.T) {
	f, url := serve(t, true)
	let := make(chan struct{})
	f.foretell = let
	ctx := browser(t)
	if err := chromedp.Do(ctx, chromedp.Navigate(url+"/campaigns/mariadb-11.8")); err != nil {
		t.Fatal(err)
	}
	const spot = `document.getElementById("forecast")`
	wait(t, ctx, spot+`.textContent.includes("When it ends is being worked out") && document.getElementById("live").textContent === "live"`)
	f.move("catch-up")
	wait(t, ctx, `document.querySelector(".timeline").textContent.includes("catch-up") && `+spot+`.textContent.includes("being worked out")`)
	close(let)
	wait(t, ctx, spot+`.textContent.includes("the last cluster arrives") && !`+spot+`.textContent.includes("being")`)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.foretold != 1 {
		t.Errorf("%d forecasts were fetched", f.foretold)
	}
}

// TestOperateByKeyboard logs in and pauses a cluster with keys alone.
func TestOperateByKeyboard(t *testing.T) {
	f, url := serve(t, true)
	ctx := browser(t)
	do := func(actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, actions...); err != nil {
			t.Fatal(err)
		}
	}
	// A live page may be put in anew at any time, so nothing here holds on to one of its elements.
	const button = `document.querySelector('a[href*="verb=pause"]')`
	do(chromedp.Navigate(url + "/clusters/qa/stock"))
	wait(t, ctx, button+` !== null`)
	evaluate[bool](t, ctx, `(() => { `+button+`.focus(); return true; })()`)
	wait(t, ctx, `document.activeElement === `+button)
	do(chromedp.KeyEvent("\r"), chromedp.WaitVisible("#token"), chromedp.KeyEvent("op-token\r"), chromedp.WaitVisible("#why"), chromedp.KeyEvent("disk is being replaced\r"), chromedp.WaitVisible("#live"))
	wait(t, ctx, `document.getElementById("cells") !== null`)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.operations) != 1 || f.operations[0].Verb != "pause" || f.operations[0].Ref.Name != "stock" || f.operations[0].Why != "disk is being replaced" || f.operations[0].Who != "mira" {
		t.Errorf("operations: %+v", f.operations)
	}
}
