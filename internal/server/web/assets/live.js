// Keeps the page as new as the server: on each change, and now and then without one (ages, lags and looks make no events), the page fetches
// itself and takes over into its own main part what is another now. What is alike is not touched, so that what the reader has open, marked,
// scrolled to, focused or begun to fill in (data-keep) stays as it is.
// A forecast takes longer than a page: where the page wants a newer one, it is fetched apart and put in when it is there.
"use strict";
(() => {
  const sign = document.getElementById("live");
  let busy = false, again = false;

  // name is what makes an element the same one on the fresh page, wherever it stands there; "" if its place does.
  const name = (node) => node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || node.getAttribute("aria-labelledby") || "" : "";

  // meld makes a node that is on the page like the fresh one.
  const meld = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== Node.ELEMENT_NODE) { old.data = fresh.data; return; }
    if (old.hasAttribute("data-keep") && fresh.hasAttribute("data-keep")) return;
    for (const had of [...old.attributes]) {
      if (!fresh.hasAttribute(had.name) && !(had.name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(had.name);
    }
    for (const has of fresh.attributes) if (old.getAttribute(has.name) !== has.value) old.setAttribute(has.name, has.value);

    const named = new Map([...old.children].filter(name).map((child) => [name(child), child]));
    const names = new Set([...fresh.children].map(name));
    let next = old.firstChild; // what is before it is as it should be
    for (const child of [...fresh.childNodes]) {
      const known = named.get(name(child));
      if (known) {
        named.delete(name(child));
        // What stands before it and is not on the fresh page goes, so that it need not be moved: that would take the focus from it.
        for (let one = next; one && one !== known;) {
          const after = one.nextSibling;
          if (!name(one) || !names.has(name(one))) {
            if (one === next) next = after;
            one.remove();
          }
          one = after;
        }
        if (known === next) next = known.nextSibling; else old.insertBefore(known, next);
        if (known.nodeName === child.nodeName) meld(known, child); else known.replaceWith(child);
      } else if (next && next.nodeName === child.nodeName && !name(child) && !name(next)) {
        const here = next;
        next = next.nextSibling;
        meld(here, child);
      } else {
        old.insertBefore(child, next);
      }
    }
    while (next) {
      const after = next.nextSibling;
      next.remove();
      next = after;
    }
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
      const focused = main.contains(document.activeElement) ? document.activeElement : null;
      meld(main, fresh);
      if (focused && !focused.isConnected && focused.hasAttribute("href")) main.querySelector(`[href="${CSS.escape(focused.getAttribute("href"))}"]`)?.focus({ preventScroll: true });
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
  setInterval(() => { if (document.visibilityState === "visible" && source.readyState === EventSource.OPEN) refresh(); }, Number(sign.dataset.every));
})();
