package web

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestALivePageLeavesAloneWhatIsRead has a reader in the middle of a page, on a phone, with the keyboard: while the page follows the server what is
// open stays open, what has the focus keeps it, and nothing that was scrolled jumps back. What the page then is, is what the server says.
func TestALivePageLeavesAloneWhatIsRead(t *testing.T) {
	f, url := serve(t, true)
	ctx := browser(t)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(390, 700), chromedp.Navigate(url+"/clusters/qa/stock")); err != nil {
		t.Fatal(err)
	}
	wait(t, ctx, `document.getElementById("live").textContent === "live"`)
	evaluate[bool](t, ctx, `(() => {
		window.read = document.querySelector("details.checks");
		read.open = true;
		read.querySelector("summary").focus();
		window.wide = document.querySelector(".cell.green .scroll");
		wide.scrollLeft = 40;
		window.first = document.querySelector(".timeline li");
		return true;
	})()`)
	if at := evaluate[float64](t, ctx, `wide.scrollLeft`); at != 40 {
		t.Fatalf("the table of the green cell is not wider than a phone: scrolled to %v", at)
	}
	for _, stage := range []string{"catch-up", "mended", "catch-up", "seed-nodes"} {
		f.move(stage)
		said := `document.querySelector(".steps p").textContent === "` + stage + `"`
		if stage == "seed-nodes" {
			said = `document.querySelectorAll(".timeline li").length === 1`
		}
		wait(t, ctx, said)
		for what, js := range map[string]string{
			"open":     `read.isConnected && read.open`,
			"focus":    `document.activeElement === read.querySelector("summary")`,
			"scrolled": `wide.isConnected && wide.scrollLeft === 40`,
			"an event": `first.isConnected && first === document.querySelector(".timeline li:last-child")`,
		} {
			if !evaluate[bool](t, ctx, js) {
				t.Errorf("%s: %s was lost", stage, what)
			}
		}
		wait(t, ctx, `(async () => {
			const fresh = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html").getElementById("main");
			const main = document.getElementById("main").cloneNode(true);
			main.querySelectorAll("details").forEach((d) => { d.open = false; });
			return main.isEqualNode(fresh);
		})()`)
	}
}

// TestALivePageGrowsOlder: a page is fetched anew now and then though nothing has happened. Ages, lags and the time of the last look make no events: a page
// that waited for one would call a look of an hour ago one of four seconds ago.
func TestALivePageGrowsOlder(t *testing.T) {
	f, url := serve(t, true, func(cfg *Config) { cfg.Every = 100 * time.Millisecond })
	ctx := browser(t)
	if err := chromedp.Do(ctx, chromedp.Navigate(url+"/")); err != nil {
		t.Fatal(err)
	}
	wait(t, ctx, `document.getElementById("live").textContent === "live"`)
	f.drift("catch-up")
	wait(t, ctx, `document.querySelector('td[data-stage=create] .box.running .text')?.textContent === "catch-up"`)
}
