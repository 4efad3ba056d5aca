(function () {
  "use strict";
  var views = [];
  function hide(host) {
    var note = host.querySelector(".chart-note");
    if (note) { note.remove(); }
  }
  function told(host, event, value) {
    hide(host);
    if (value === null || value === undefined || value === "") { return; }
    var note = document.createElement("div"), frame = host.getBoundingClientRect();
    note.className = "chart-note";
    note.setAttribute("role", "tooltip");
    note.textContent = String(value);
    host.appendChild(note);
    var left = event.clientX - frame.left + 12;
    note.style.left = Math.max(0, Math.min(left, frame.width - note.offsetWidth)) + "px";
    note.style.top = (event.clientY - frame.top + 14) + "px";
  }
  function start(host) {
    var data = host.querySelector("script[type='application/json']");
    if (!data) { return; }
    var still = host.querySelector(".chart-still"), live = document.createElement("div");
    live.className = "chart-live";
    live.hidden = true;
    host.insertBefore(live, data);
    vegaEmbed(live, JSON.parse(data.textContent), {
      mode: "vega", renderer: "svg", actions: false, logLevel: 1, defaultStyle: false,
      tooltip: function (handler, event, item, value) { told(host, event, value); }
    }).then(function (made) {
      made.view.addEventListener("click", function (event, item) {
        var row = item && item.datum ? item.datum.row : undefined;
        if (row !== undefined && row !== null) {
          host.dispatchEvent(new CustomEvent("chart:pick", { bubbles: true, detail: { row: row } }));
        }
      });
      host.addEventListener("mouseleave", function () { hide(host); });
      var drawn = live.querySelector("svg");
      if (drawn) { drawn.setAttribute("aria-label", still.getAttribute("aria-label")); }
      live.hidden = false;
      still.hidden = true;
      views.push(made.view);
    });
  }
  window.audiopruneCharts = {
    mark: function (row) {
      views.forEach(function (view) {
        if (view.getState().signals.marked !== undefined) {
          view.signal("marked", row === null ? "" : row).runAsync();
        }
      });
    }
  };
  function all() { document.querySelectorAll(".chart").forEach(start); }
  if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", all);
  } else { all(); }
})();
