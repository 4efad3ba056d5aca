"use strict";
// While runs go on, an open page asks the file beside it for its version, and loads itself again when that is another: from disk a
// page may load scripts, but read no files. Where it was and what was open is kept; nothing is loaded while something plays.
(() => {
  const version = document.documentElement.dataset.version;
  const key = "audioprune " + location.pathname;
  const parts = window.audiopruneState || [];
  const EVERY_MS = 4000;

  function keep() {
    const kept = { scroll: window.scrollY, focus: document.activeElement ? document.activeElement.id : "" };
    for (const part of parts) { kept[part.name] = part.save(); }
    try { sessionStorage.setItem(key, JSON.stringify(kept)); } catch (error) { /* a page from disk may have no storage */ }
  }

  function recall() {
    let kept = null;
    try {
      kept = JSON.parse(sessionStorage.getItem(key));
      sessionStorage.removeItem(key);
    } catch (error) { return; }
    if (!kept) { return; }
    for (const part of parts) { if (kept[part.name]) { part.load(kept[part.name]); } }
    window.scrollTo({ top: kept.scroll, behavior: "instant" });
    const focused = kept.focus && document.getElementById(kept.focus);
    if (focused) { focused.focus({ preventScroll: true }); }
  }

  recall();
  if (!version) { return; }
  const told = document.querySelector(".live");
  told.textContent = "Live: this page follows the runs and loads itself again.";
  told.hidden = false;

  function reload() {
    if (parts.some((part) => part.busy && part.busy())) { return; }
    keep();
    location.reload();
  }

  window.audiopruneVersion = (found) => { if (found !== version) { reload(); } };

  function ask() {
    if (document.visibilityState === "hidden") { return; }
    const script = document.createElement("script");
    const own = location.pathname.split("/").pop().replace(/\.html?$/, "");
    script.src = own + ".version.js?" + Date.now();
    script.onload = () => script.remove();
    // The last page of a report has no such file any more.
    script.onerror = () => { script.remove(); reload(); };
    document.head.append(script);
  }

  setInterval(ask, EVERY_MS);
})();
