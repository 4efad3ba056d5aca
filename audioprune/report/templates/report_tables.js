"use strict";
// Sorting, filtering and opening of the main table, and the buttons that copy a command.
(() => {
  document.documentElement.classList.add("scripted");
  const all = (where, what) => Array.from(where.querySelectorAll(what));
  const moreOf = (row) => document.getElementById(row.id + "-more");
  const tables = all(document, "table.sortable");
  const isOpen = (row) => row.querySelector("button.name").getAttribute("aria-expanded") === "true";
  const modelRows = () => tables.flatMap((table) => all(table, "tr.model"));

  // ---- rows that open

  function open(row, wanted) {
    const more = moreOf(row);
    if (!more) { return; }
    more.hidden = !wanted;
    row.querySelector("button.name").setAttribute("aria-expanded", String(wanted));
  }

  function choose(row) {
    if (window.audiopruneCharts) { window.audiopruneCharts.mark(row.dataset.row); }
    for (const other of modelRows()) { other.classList.toggle("chosen", other === row); }
    row.hidden = false;
    open(row, true);
    row.scrollIntoView({ block: "center" });
    const button = row.querySelector("button.name");
    if (button) { button.focus({ preventScroll: true }); }
  }

  for (const row of modelRows()) {
    const more = moreOf(row);
    if (!more) { continue; }
    const name = row.querySelector(".name");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "name";
    button.textContent = name.textContent;
    button.setAttribute("aria-controls", more.id);
    name.replaceWith(button);
    open(row, false);
    button.addEventListener("click", () => open(row, more.hidden));
  }
  for (const link of all(document, "a.opens")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      choose(document.getElementById(link.getAttribute("href").slice(1)));
    });
  }
  // A dot of a chart that is selected opens its row, and a row that is chosen marks its dots.
  document.addEventListener("chart:pick", (event) => {
    const row = modelRows().find((each) => each.dataset.row === String(event.detail.row));
    if (row) { choose(row); }
  });

  // ---- sorting

  function valueOf(row, column, kind) {
    const cell = row.cells[column];
    if (kind === "text") { return (column ? cell.textContent : row.dataset.name).trim().toLowerCase(); }
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  }

  function compare(one, other) { // what has no value comes last, whichever way round
    if (typeof one === "string") { return one.localeCompare(other, undefined, { numeric: true }); }
    return one - other;
  }

  function sort(table, column, falling) {
    const kind = table.tHead.rows[0].cells[column].dataset.kind;
    const rows = all(table, "tr.model").map((row, place) => ({ row, place, value: valueOf(row, column, kind) }));
    rows.sort((one, other) => {
      if (one.value === null || other.value === null) { return (one.value === null) - (other.value === null) || one.place - other.place; }
      return (falling ? -1 : 1) * compare(one.value, other.value) || one.place - other.place;
    });
    for (const { row } of rows) {
      table.tBodies[0].append(row);
      if (moreOf(row)) { table.tBodies[0].append(moreOf(row)); }
    }
    all(table, "thead th").forEach((head, place) => {
      if (place === column) { head.setAttribute("aria-sort", falling ? "descending" : "ascending"); } else { head.removeAttribute("aria-sort"); }
    });
  }

  for (const table of tables) {
    all(table, "thead th").forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.textContent = "";
      head.append(button);
      button.addEventListener("click", () => sort(table, column, head.getAttribute("aria-sort") === "ascending"));
    });
  }

  // ---- filtering

  const filter = document.getElementById("filter");
  const good = document.getElementById("good");

  function show() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of modelRows()) {
      const text = row.textContent.toLowerCase();
      const fits = words.every((word) => text.includes(word)) && !(good.checked && (row.classList.contains("poor") || row.classList.contains("bad")));
      row.hidden = !fits;
      const more = moreOf(row);
      if (more) { more.hidden = !fits || !isOpen(row); }
      shown += fits;
    }
    document.getElementById("shown").textContent = shown + " of " + modelRows().length + " rows";
  }

  if (filter) {
    filter.addEventListener("input", show);
    good.addEventListener("change", show);
    show();
  }

  // ---- copying

  function selectText(element) {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  }

  async function copy(button) {
    const code = button.parentElement.querySelector("code");
    let done = false;
    try {
      await navigator.clipboard.writeText(code.textContent);
      done = true;
    } catch (error) { // a page from disk may not be allowed to; the older way needs a selection
      selectText(code);
      done = document.execCommand("copy");
    }
    button.textContent = done ? "Copied" : "Selected";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  for (const button of all(document, "button.copy")) { button.addEventListener("click", () => copy(button)); }

  // ---- what a reload keeps; see report_live.js

  window.audiopruneState = window.audiopruneState || [];
  window.audiopruneState.push({
    name: "tables",
    save: () => ({
      filter: filter ? filter.value : "",
      good: Boolean(good && good.checked),
      open: modelRows().filter((row) => moreOf(row) && isOpen(row)).map((row) => row.dataset.row),
      sorted: tables.map((table) => all(table, "thead th").map((head) => head.getAttribute("aria-sort"))),
    }),
    load: (kept) => {
      kept.sorted.forEach((heads, place) => heads.forEach((way, column) => {
        if (way && tables[place]) { sort(tables[place], column, way === "descending"); }
      }));
      for (const row of modelRows()) { if (kept.open.includes(row.dataset.row)) { open(row, true); } }
      if (filter) { filter.value = kept.filter; good.checked = kept.good; show(); }
    },
  });
})();
