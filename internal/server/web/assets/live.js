// Keeps the page as new as the server: on each change the page fetches itself and puts in its own main part.
// What the reader has open (details) and where the focus is stay as they were.
"use strict";
(() => {
  const sign = document.getElementById("live");
  let busy = false, again = false;

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
      main.replaceChildren(...fresh.childNodes);
      main.querySelectorAll("details").forEach((d, i) => { d.open = Boolean(open[i]); });
      if (focused) main.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
      sign.textContent = "live";
      sign.className = "live on";
    } catch {
      sign.textContent = "not updated";
      sign.className = "live off";
    } finally {
      busy = false;
      if (again) { again = false; refresh(); }
    }
  };

  const source = new EventSource("/live");
  source.addEventListener("change", refresh);
  source.addEventListener("open", () => { sign.textContent = "live"; sign.className = "live on"; });
  source.addEventListener("error", () => { sign.textContent = "server away, trying again"; sign.className = "live off"; });
})();
