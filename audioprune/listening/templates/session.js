"use strict";
(function () {
  const plan = JSON.parse(document.getElementById("plan").textContent);
  const LABELS = ["bad", "poor", "fair", "good", "excellent"];
  const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "A", "B", "C"];
  const COLUMNS = ["session_test_id", "listener", "playback", "session_uuid", "trial_id", "rating_stimulus", "rating_score", "rating_time", "rating_comment"];
  const STORE = "audioprune.listen." + plan.test + "." + plan.version;
  const ENOUGH_S = 1.0; // a condition counts as heard after this long, or after all of a shorter recording
  const TICK_MS = 100;
  const PRACTICE = -1;
  const byId = (id) => document.getElementById(id);

  // ---- orders: the same code of a listener gives the same orders

  function hash(text) {
    let value = 2166136261;
    for (let i = 0; i < text.length; i += 1) { value = Math.imul(value ^ text.charCodeAt(i), 16777619); }
    return value >>> 0;
  }

  function generator(seed) {
    let state = seed >>> 0;
    return function () {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
  }

  function shuffled(count, text) {
    const random = generator(hash(text));
    const order = Array.from({ length: count }, (_, place) => place);
    for (let last = count - 1; last > 0; last -= 1) {
      const other = Math.floor(random() * (last + 1));
      [order[last], order[other]] = [order[other], order[last]];
    }
    return order;
  }

  const seedText = (listener, what) => [plan.test, plan.seed, listener, what].join("/");
  const trialOrder = (listener) => shuffled(plan.trials.length, seedText(listener, "trials"));
  const stimulusOrder = (listener, trial, what) => shuffled(trial.stimuli.length, seedText(listener, what));

  function nameOf(key) {
    const bytes = Array.from(atob(key), (sign) => sign.charCodeAt(0) ^ 0x5a).reverse();
    return String.fromCharCode.apply(null, bytes);
  }

  function uuid() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
  }

  // ---- what is kept over a reload

  let session = null;

  function remember() {
    try {
      localStorage.setItem(STORE, JSON.stringify(session));
    } catch (error) {
      warn("This browser keeps nothing: do not reload or close this page before you have saved your ratings.");
    }
  }

  function recall() {
    try {
      return JSON.parse(localStorage.getItem(STORE));
    } catch (error) {
      return null;
    }
  }

  function forget() {
    session = null;
    try { localStorage.removeItem(STORE); } catch (error) { /* there was nothing to remove */ }
  }

  function warn(text) {
    byId("warning").textContent = text;
    byId("warning").hidden = false;
  }

  // ---- player, see in_step.js

  let context = null;

  function wake() {
    context = context || new AudioContext({ sampleRate: plan.sampleRate });
    if (context.state === "suspended") { context.resume(); }
    return context;
  }

  const player = audiopruneAudio.inStep({ wake, level: () => 1, ended: () => showPlayer() });

  async function load(clips) {
    player.stop();
    const decoder = new OfflineAudioContext(1, 1, plan.sampleRate); // the context that plays has to wait for a click or a key
    player.hold(await Promise.all(clips.map((clip) => decoder.decodeAudioData(audiopruneAudio.bytesOf(byId("clip-" + clip).textContent)))));
    player.active = 0;
    player.offset = 0;
  }

  // ---- the trial on the screen; place 0 of the player is the reference, place k + 1 the k-th condition shown

  let view = null; // { trial, order, scores, heard, ready }
  let rows = [];

  function openTrial() {
    const practice = session.page === PRACTICE;
    const trial = plan.trials[practice ? session.order[0] : session.order[session.page]];
    const kept = practice ? { scores: {}, heard: {} } : (session.trials[trial.id] = session.trials[trial.id] || { scores: {}, heard: {}, ms: 0 });
    const order = stimulusOrder(session.listener, trial, practice ? "practice" : "trial " + trial.id);
    view = { trial, practice, kept, order, seconds: {}, ready: false };
    byId("practice").hidden = !practice;
    byId("progress").textContent = practice ? "Practice" : "Trial " + (session.page + 1) + " of " + plan.trials.length;
    buildRows();
    say("Loading the audio …");
    const opened = view;
    load([trial.reference, ...view.order.map((place) => trial.stimuli[place].clip)]).then(() => {
      if (view !== opened) { return; }
      view.ready = true;
      byId("position").max = player.duration().toFixed(2);
      say("");
      showPlayer();
    }, (error) => warn("The audio of this trial cannot be decoded by this browser (" + error.message + "); use another browser."));
    showPlayer();
    showRows();
  }

  function buildRows() {
    const sheet = byId("conditions");
    sheet.textContent = "";
    rows = view.order.map((_, place) => {
      const row = document.createElement("div");
      row.className = "condition";
      row.setAttribute("role", "group");
      row.setAttribute("aria-label", "Condition " + KEYS[place]);
      const button = document.createElement("button");
      button.type = "button";
      button.id = "play-" + place;
      button.setAttribute("aria-keyshortcuts", KEYS[place]);
      button.append(element("kbd", KEYS[place]), " Play ", element("span", "✓", "heard"));
      const track = element("div", "", "track");
      const slider = document.createElement("input");
      slider.type = "range";
      slider.id = "score-" + place;
      Object.assign(slider, { min: "0", max: "100", step: "1" });
      slider.setAttribute("aria-label", "Score of condition " + KEYS[place]);
      track.append(slider);
      const score = document.createElement("output");
      score.htmlFor = slider.id;
      row.append(button, track, score);
      button.addEventListener("click", () => toggle(place + 1));
      slider.addEventListener("input", () => rate(place));
      slider.addEventListener("pointerup", () => rate(place));
      sheet.append(row);
      return { row, button, slider, score };
    });
  }

  function element(kind, text, name) {
    const made = document.createElement(kind);
    made.textContent = text;
    if (name) { made.className = name; }
    return made;
  }

  const scoreOf = (place) => view.kept.scores[view.order[place]];
  const isHeard = (place) => Boolean(view.kept.heard[view.order[place]]);

  function rate(place) {
    view.kept.scores[view.order[place]] = Number(rows[place].slider.value);
    say("");
    keep();
    showRows();
  }

  function keep() { if (!view.practice) { session.saved = false; remember(); } }

  function showRows() {
    rows.forEach(({ row, button, slider, score }, place) => {
      const value = scoreOf(place);
      const rated = value !== undefined;
      const label = rated ? LABELS[Math.min(4, Math.floor(value / 20))] : "";
      slider.value = rated ? value : 50;
      slider.setAttribute("aria-valuetext", rated ? value + ", " + label : "not rated");
      score.textContent = rated ? value + " " + label : "not rated";
      row.classList.toggle("unrated", !rated);
      row.classList.toggle("was-heard", isHeard(place));
      row.classList.toggle("active", player.playing && player.active === place + 1);
      button.setAttribute("aria-label", "Play condition " + KEYS[place] + (isHeard(place) ? ", heard" : ", not heard yet"));
      button.setAttribute("aria-pressed", String(player.playing && player.active === place + 1));
    });
    byId("next").setAttribute("aria-disabled", String(missing() !== ""));
    byId("back").disabled = session.page === PRACTICE;
    byId("next").lastChild.textContent = view.practice ? " Begin the test" : " Next";
  }

  function missing() {
    if (view.practice) { return ""; }
    const places = rows.map((_, place) => place);
    const unheard = places.filter((place) => !isHeard(place)).map((place) => KEYS[place]);
    const unrated = places.filter((place) => scoreOf(place) === undefined).map((place) => KEYS[place]);
    const parts = [];
    if (unheard.length) { parts.push("still to hear: " + unheard.join(", ")); }
    if (unrated.length) { parts.push("still to rate: " + unrated.join(", ")); }
    const text = parts.join("; ");
    return text && text[0].toUpperCase() + text.slice(1) + ".";
  }

  function showPlayer() {
    byId("pause").textContent = player.playing ? "Pause" : "Play";
    byId("reference").setAttribute("aria-pressed", String(player.playing && player.active === 0));
    byId("loop").setAttribute("aria-pressed", String(player.loop));
    const total = player.duration();
    byId("time").textContent = player.position().toFixed(1) + " / " + total.toFixed(1) + " s";
    byId("position").value = player.position().toFixed(2);
    byId("region").style.left = total ? (100 * player.from) / total + "%" : "0";
    byId("region").style.right = total ? 100 - (100 * player.to) / total + "%" : "0";
    if (view) { showRows(); }
  }

  function hear(place) {
    if (!view || !view.ready) { return; }
    player.select(place);
    if (!player.playing) { player.start(); }
    showPlayer();
  }

  function toggle(place) {
    if (player.playing && player.active === place) { player.stop(); showPlayer(); } else { hear(place); }
  }

  function say(text) { byId("status").textContent = text; }

  let last = performance.now();

  function tick() {
    const now = performance.now();
    const passed = now - last;
    last = now;
    if (!view) { return; }
    if (!view.practice && document.visibilityState === "visible") { view.kept.ms += passed; }
    if (!player.playing) { return; }
    listened(passed / 1000);
    byId("time").textContent = player.position().toFixed(1) + " / " + player.duration().toFixed(1) + " s";
    if (document.activeElement !== byId("position")) { byId("position").value = player.position().toFixed(2); }
  }

  function listened(seconds) {
    if (player.active === 0 || context.state !== "running") { return; }
    const place = player.active - 1;
    const stimulus = view.order[place];
    view.seconds[stimulus] = (view.seconds[stimulus] || 0) + seconds;
    if (!isHeard(place) && view.seconds[stimulus] >= Math.min(ENOUGH_S, player.duration())) {
      view.kept.heard[stimulus] = true;
      say("");
      keep();
      showRows();
    }
  }

  // ---- pages

  function show(name) {
    for (const id of ["start", "trial", "finish"]) { byId(id).hidden = id !== name; }
    byId("discard").hidden = !session;
    byId("discard").textContent = session && session.saved ? "Next listener" : "Discard this session";
    window.scrollTo(0, 0);
  }

  function open() {
    player.stop();
    view = null;
    if (!session) {
      byId("progress").textContent = "";
      show("start");
    } else if (session.page < plan.trials.length) {
      show("trial");
      openTrial();
    } else {
      byId("progress").textContent = "All trials done";
      byId("done").textContent = "You rated all " + plan.trials.length + " trials. Save your ratings and send the file to whoever asked you.";
      byId("csv").value = csvText();
      byId("saved").textContent = session.saved ? "Saved." : "";
      show("finish");
    }
  }

  function go(page) {
    session.page = Math.max(PRACTICE, Math.min(plan.trials.length, page));
    remember();
    open();
    const target = session.page < plan.trials.length ? byId("reference") : byId("save");
    target.focus({ preventScroll: true });
  }

  function next() {
    const text = missing();
    if (text) { say(text); return; }
    go(session.page + 1);
  }

  function begin(event) {
    event.preventDefault();
    const form = new FormData(byId("about"));
    const listener = String(form.get("listener"));
    session = {
      uuid: uuid(), listener, playback: String(form.get("playback")), page: PRACTICE, order: trialOrder(listener), trials: {}, saved: false,
    };
    go(PRACTICE);
  }

  function playSample() {
    if (player.playing) { player.stop(); byId("sample").setAttribute("aria-pressed", "false"); return; }
    load([plan.trials[0].reference]).then(() => { player.start(); byId("sample").setAttribute("aria-pressed", "true"); });
  }

  // ---- results

  function csvField(value) {
    const plain = String(value);
    // A spreadsheet would run a name that begins like a formula.
    const text = /^[=+\-@\t\r]/.test(plain) && Number.isNaN(Number(plain)) ? "'" + plain : plain;
    return /[",\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
  }

  function csvText() {
    const lines = [COLUMNS.join(",")];
    for (const place of session.order) {
      const trial = plan.trials[place];
      const kept = session.trials[trial.id];
      trial.stimuli.forEach((stimulus, number) => {
        const fields = [plan.test, session.listener, session.playback, session.uuid, trial.id, nameOf(stimulus.key), kept.scores[number], Math.round(kept.ms), ""];
        lines.push(fields.map(csvField).join(","));
      });
    }
    return lines.join("\n") + "\n";
  }

  function save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csvText()], { type: "text/csv" }));
    link.download = plan.test + "-" + session.listener + "-" + session.uuid.slice(0, 8) + ".csv";
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    session.saved = true;
    remember();
    byId("saved").textContent = "Saved as " + link.download + ".";
    byId("discard").textContent = "Next listener";
  }

  function discard() {
    const text = session.saved ? "Start anew for the next listener?" : "Discard all ratings of this session? They are not saved.";
    if (!window.confirm(text)) { return; }
    forget();
    byId("about").reset();
    open();
  }

  // ---- keys

  function onKey(event) {
    if (!view || event.ctrlKey || event.metaKey || event.altKey) { return; }
    if (event.target.tagName === "TEXTAREA" || event.target.type === "text") { return; }
    const key = event.key.length === 1 ? event.key.toUpperCase() : event.key;
    const place = KEYS.indexOf(key);
    const onButton = ["BUTTON", "SUMMARY"].includes(event.target.tagName);
    if (place >= 0 && place < rows.length) {
      hear(place + 1);
      rows[place].slider.focus();
    } else if (key === "R" || key === "0") {
      hear(0);
    } else if (key === " " && !onButton) {
      toggle(player.active);
    } else if (key === "Enter" && event.target.id.startsWith("score-")) {
      rate(Number(event.target.id.slice(6)));
    } else if (key === "L") {
      setLoop();
    } else if (key === "[") {
      setEnd("from");
    } else if (key === "]") {
      setEnd("to");
    } else if (key === "N") {
      next();
    } else if (key === "P" && session.page !== PRACTICE) {
      go(session.page - 1);
    } else {
      return;
    }
    event.preventDefault();
  }

  function setLoop() { player.change(() => { player.loop = !player.loop; }); showPlayer(); }

  function setEnd(end) {
    const at = player.position();
    const least = 0.25; // seconds; shorter loops buzz
    player.change(() => {
      if (end === "from") { player.from = Math.max(0, Math.min(at, player.to - least)); }
      if (end === "to") { player.to = Math.min(player.duration(), Math.max(at, player.from + least)); }
    });
    showPlayer();
  }

  function setWhole() { player.change(() => { player.from = 0; player.to = player.duration(); }); showPlayer(); }

  byId("about").addEventListener("submit", begin);
  byId("sample").addEventListener("click", playSample);
  byId("reference").addEventListener("click", () => toggle(0));
  byId("pause").addEventListener("click", () => { if (view && view.ready) { toggle(player.active); } });
  byId("loop").addEventListener("click", setLoop);
  byId("from").addEventListener("click", () => setEnd("from"));
  byId("to").addEventListener("click", () => setEnd("to"));
  byId("whole").addEventListener("click", setWhole);
  byId("position").addEventListener("input", () => {
    const at = Number(byId("position").value);
    player.change(() => { player.offset = at; });
    showPlayer();
  });
  byId("back").addEventListener("click", () => go(session.page - 1));
  byId("next").addEventListener("click", next);
  byId("again").addEventListener("click", () => go(plan.trials.length - 1));
  byId("save").addEventListener("click", save);
  byId("discard").addEventListener("click", discard);
  document.addEventListener("keydown", onKey);
  document.addEventListener("visibilitychange", () => { if (view) { keep(); } });
  setInterval(tick, TICK_MS);

  session = recall();
  open();
})();
