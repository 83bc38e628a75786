// Keeps the page as new as the server: on each change the page fetches itself and puts in its own main part.
// A forecast takes longer than a page: where the page wants a newer one, it is fetched apart and put in when it is there.
// What the reader has open (details), has begun to fill in (data-keep) and where the focus is stay as they were.
"use strict";
(() => {
  const sign = document.getElementById("live");
  let busy = false, again = false;

  // put takes over what is new. A form that the reader may be filling in stays where it is.
  const put = (main, fresh) => {
    const kept = main.querySelector(":scope > [data-keep]");
    const other = fresh.querySelector(":scope > [data-keep]");
    if (!kept || !other) { main.replaceChildren(...fresh.childNodes); return; }
    while (main.firstChild !== kept) main.firstChild.remove();
    while (kept.nextSibling) kept.nextSibling.remove();
    while (fresh.firstChild !== other) kept.before(fresh.firstChild);
    while (other.nextSibling) main.append(other.nextSibling);
  };

  let foretelling = false, timer;
  const tell = (text) => {
    const spot = document.getElementById("forecast");
    if (!spot) return;
    let link = spot.querySelector(":scope > a");
    if (!link) { link = document.createElement("a"); link.href = spot.dataset.due; spot.append(" ", link); }
    link.textContent = text;
  };
  const foretell = () => {
    clearTimeout(timer);
    const spot = document.getElementById("forecast");
    if (!spot?.dataset.due) return;
    if (foretelling) { tell("A newer one is being worked out…"); return; }
    timer = setTimeout(async () => {
      foretelling = true;
      tell(spot.querySelector("time") ? "A newer one is being worked out…" : "When it ends is being worked out…");
      try {
        const answer = await fetch(spot.dataset.due, { credentials: "same-origin", redirect: "error" });
        if (!answer.ok) throw new Error(answer.status);
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("forecast");
        document.getElementById("forecast")?.replaceWith(fresh);
      } catch {
        tell("It could not be worked out: try again");
      } finally {
        foretelling = false;
      }
    }, Number(spot.dataset.wait));
  };

  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
      if (!answer.ok) throw new Error(answer.status);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
      const main = document.getElementById("main");
      const open = [...main.querySelectorAll("details")].map((d) => d.open);
      const focused = main.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      put(main, fresh);
      main.querySelectorAll("details").forEach((d, i) => { d.open = Boolean(open[i]); });
      if (focused) main.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
      sign.textContent = "live";
      sign.className = "live on";
      foretell();
    } catch {
      sign.textContent = "not updated";
      sign.className = "live off";
    } finally {
      busy = false;
      if (again) { again = false; refresh(); }
    }
  };

  foretell();
  const source = new EventSource("/live");
  source.addEventListener("change", refresh);
  source.addEventListener("open", () => { sign.textContent = "live"; sign.className = "live on"; });
  source.addEventListener("error", () => { sign.textContent = "server away, trying again"; sign.className = "live off"; });
})();
