"use strict";
// Players: all versions of a recording run together, and one of them is heard, so that switching keeps the position.
(() => {
  const FFT = 1024;
  const FLOOR_DB = -60;
  const COLUMNS = 600;
  const STEP_S = 0.5;
  const STOPS = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];
  const all = (where, what) => Array.from(where.querySelectorAll(what));
  let context = null;
  let sounding = null; // the one player that plays
  const decoded = new Map(); // clip -> promise of its buffer
  const drawn = new Map(); // clip -> its levels

  // ---- clips

  function bufferOf(clip) {
    if (!decoded.has(clip)) {
      const address = document.getElementById(clip).src;
      context = context || new AudioContext();
      decoded.set(clip, context.decodeAudioData(audiopruneAudio.bytesOf(address.slice(address.indexOf(",") + 1))));
    }
    return decoded.get(clip);
  }

  // ---- levels in dB: an FFT of real frames under a Hann window

  const turns = Array.from({ length: FFT / 2 }, (_, k) => [Math.cos((2 * Math.PI * k) / FFT), -Math.sin((2 * Math.PI * k) / FFT)]);
  const hann = Float64Array.from({ length: FFT }, (_, k) => 0.5 - 0.5 * Math.cos((2 * Math.PI * k) / FFT));

  function transform(re, im) {
    for (let i = 1, j = 0; i < FFT; i += 1) {
      let bit = FFT >> 1;
      for (; j & bit; bit >>= 1) { j ^= bit; }
      j ^= bit;
      if (i < j) { [re[i], re[j]] = [re[j], re[i]]; [im[i], im[j]] = [im[j], im[i]]; }
    }
    for (let size = 2; size <= FFT; size *= 2) {
      const half = size / 2;
      const stride = FFT / size;
      for (let start = 0; start < FFT; start += size) {
        for (let k = 0; k < half; k += 1) {
          const [wr, wi] = turns[k * stride];
          const a = start + k;
          const b = a + half;
          const tr = re[b] * wr - im[b] * wi;
          const ti = re[b] * wi + im[b] * wr;
          re[b] = re[a] - tr; im[b] = im[a] - ti;
          re[a] += tr; im[a] += ti;
        }
      }
    }
  }

  function levelsOf(clip, buffer, topHz) {
    if (drawn.has(clip)) { return drawn.get(clip); }
    const signal = buffer.getChannelData(0);
    const bins = Math.max(2, Math.min(FFT / 2, Math.round((topHz * FFT) / buffer.sampleRate)));
    const hop = Math.max(Math.round(buffer.sampleRate / 100), Math.ceil(signal.length / COLUMNS));
    const frames = [];
    const mean = new Float64Array(bins);
    const re = new Float64Array(FFT);
    const im = new Float64Array(FFT);
    for (let start = -FFT / 2; start < signal.length; start += hop) {
      for (let k = 0; k < FFT; k += 1) { re[k] = (signal[start + k] || 0) * hann[k]; im[k] = 0; }
      transform(re, im);
      const frame = new Float32Array(bins);
      for (let k = 0; k < bins; k += 1) {
        const power = re[k] * re[k] + im[k] * im[k];
        frame[k] = 10 * Math.log10(power + 1e-12);
        mean[k] += power;
      }
      frames.push(frame);
    }
    const spectrum = mean.map((sum) => 10 * Math.log10(sum / frames.length + 1e-12));
    const found = { frames, spectrum, bins, topHz, peak: Math.max(...frames.map((frame) => Math.max(...frame))) };
    drawn.set(clip, found);
    return found;
  }

  function color(share) {
    const at = Math.max(0, Math.min(1, share)) * (STOPS.length - 1);
    const low = Math.min(STOPS.length - 2, Math.floor(at));
    return STOPS[low].map((value, place) => value + (at - low) * (STOPS[low + 1][place] - value));
  }

  const COLORS = Array.from({ length: 256 }, (_, k) => color(k / 255));

  // ---- one player

  function build(root) {
    const items = all(root, ".item").map((element) => ({
      element,
      versions: all(element, "tr.version").map((row) => ({
        row, clip: row.dataset.clip, gain: 10 ** (Number(row.dataset.gain) / 20), rate: Number(row.dataset.rate), name: row.dataset.name,
      })),
    }));
    const find = (what) => root.querySelector(what);
    const pick = find(".pick");
    const seek = find(".seek");
    const state = { item: 0, ready: false, x: null, hidden: false, right: 0, guesses: 0 };
    const versions = () => items[state.item].versions;
    const wake = () => { context.resume(); return context; };
    const player = audiopruneAudio.inStep({ wake, level, ended: () => show() });

    // Equal loudness may not clip: where one version would, all are turned down alike.
    function level(place) {
      const equal = find(".match").checked;
      const wanted = versions().map((version) => (equal ? version.gain : 1));
      const loudest = Math.max(...wanted.map((gain, other) => gain * peakOf(player.buffers[other])));
      return wanted[place] * Math.min(1, 0.98 / loudest);
    }

    function start() {
      if (!state.ready || player.playing) { return; }
      if (sounding && sounding !== api) { sounding.stop(); }
      sounding = api;
      player.start();
      show();
      requestAnimationFrame(tick);
    }

    function stop() {
      player.stop();
      show();
    }

    function change(set) {
      player.change(set);
      show();
    }

    function select(place, hidden = false) {
      if (place < 0 || place >= versions().length) { return; }
      state.hidden = hidden;
      player.select(place);
      paint();
      show();
    }

    function hear(place, hidden = false) { load().then(() => { select(place, hidden); start(); }); }

    function toggle(place) {
      if (player.playing && player.active === place && !state.hidden) { stop(); } else { hear(place); }
    }

    let loading = null;

    function load() {
      if (loading) { return loading; }
      const at = state.item;
      find(".under").textContent = "Loading …";
      loading = Promise.all(versions().map((version) => bufferOf(version.clip))).then((buffers) => {
        if (state.item !== at) { return; }
        player.hold(buffers);
        state.ready = true;
        seek.max = player.duration().toFixed(2);
        find(".under").textContent = "";
        paint();
        show();
      }, (error) => {
        find(".under").textContent = "This browser cannot decode the clips (" + error.message + "); they lie in the audio folders of the runs.";
      });
      return loading;
    }

    function choose(place) {
      stop();
      Object.assign(state, { item: place, ready: false, x: null, hidden: false });
      Object.assign(player, { active: Math.min(player.active, items[place].versions.length - 1), offset: 0, buffers: [] });
      loading = null;
      pick.value = String(place);
      items.forEach(({ element }, other) => { element.hidden = other !== place; });
      fillSides();
      show();
      if (context) { load(); }
    }

    // ---- what is seen

    function fit(canvas) { // as many points as the screen has, so that letters are not stretched
      const scale = window.devicePixelRatio || 1;
      canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale));
      canvas.height = Math.max(1, Math.round(canvas.clientHeight * scale));
      return scale;
    }

    function paint() {
      if (!state.ready) { return; }
      const { clip, rate } = versions()[player.active];
      const canvas = find(".levels");
      const pen = canvas.getContext("2d");
      fit(canvas);
      find(".top").textContent = state.hidden ? "" : (rate / 2000).toFixed(rate % 2000 ? 1 : 0) + " kHz";
      if (state.hidden) { // a picture would say which one X is
        pen.fillStyle = "#06050f";
        pen.fillRect(0, 0, canvas.width, canvas.height);
        paintMean(null);
        return;
      }
      const found = levelsOf(clip, player.buffers[player.active], rate / 2);
      const image = new ImageData(found.frames.length, found.bins);
      found.frames.forEach((frame, x) => {
        for (let y = 0; y < found.bins; y += 1) {
          const shade = COLORS[Math.max(0, Math.min(255, Math.round(255 * (1 - (frame[y] - found.peak) / FLOOR_DB))))];
          image.data.set([shade[0], shade[1], shade[2], 255], 4 * ((found.bins - 1 - y) * found.frames.length + x));
        }
      });
      const sheet = new OffscreenCanvas(image.width, image.height);
      sheet.getContext("2d").putImageData(image, 0, 0);
      pen.imageSmoothingEnabled = true;
      pen.drawImage(sheet, 0, 0, canvas.width, canvas.height);
      canvas.setAttribute("aria-label", "Spectrogram of " + versions()[player.active].name);
      paintMean(found);
    }

    function paintMean(found) {
      const canvas = find(".spectrum");
      const pen = canvas.getContext("2d");
      const scale = fit(canvas);
      const size = { width: canvas.clientWidth, height: canvas.clientHeight };
      pen.scale(scale, scale);
      pen.fillStyle = "#06050f";
      pen.fillRect(0, 0, size.width, size.height);
      if (!found) { return; }
      const reference = levelsOf(versions()[0].clip, player.buffers[0], versions()[0].rate / 2);
      const top = Math.max(...reference.spectrum, ...found.spectrum);
      line(pen, size, reference, top, "#8fa0b3", [4, 3]);
      line(pen, size, found, top, "#f5a623", []);
      pen.fillStyle = "#ffffff";
      pen.font = "12px system-ui, sans-serif";
      pen.fillText("Mean spectrum, 60 dB", 8, 16);
      pen.fillText("50 Hz", 8, size.height - 6);
      pen.textAlign = "right";
      pen.fillText((found.topHz / 1000).toFixed(1) + " kHz", size.width - 6, size.height - 6);
      pen.textAlign = "left";
      canvas.setAttribute("aria-label", "Mean spectrum of " + versions()[player.active].name + " (solid) and of " + versions()[0].name + " (dashed)");
    }

    function line(pen, size, found, top, stroke, dash) {
      pen.strokeStyle = stroke;
      pen.lineWidth = 1.5;
      pen.setLineDash(dash);
      pen.beginPath();
      const low = Math.log(50);
      const width = Math.log(found.topHz) - low;
      let begun = false;
      found.spectrum.forEach((value, bin) => {
        const hz = (bin * found.topHz) / found.bins;
        if (hz < 50) { return; }
        const x = ((Math.log(hz) - low) / width) * size.width;
        const y = Math.min(size.height, ((top - value) / -FLOOR_DB) * (size.height - 24) + 20);
        if (begun) { pen.lineTo(x, y); } else { pen.moveTo(x, y); begun = true; }
      });
      pen.stroke();
      pen.setLineDash([]);
    }

    function show() {
      find(".play span").textContent = player.playing ? "Pause" : "Play";
      find(".loop").setAttribute("aria-pressed", String(player.loop));
      items[state.item].versions.forEach(({ row }, place) => {
        const button = row.querySelector("button");
        button.setAttribute("aria-pressed", String(place === player.active && !state.hidden));
      });
      find(".hear-x").setAttribute("aria-pressed", String(state.hidden));
      showTime();
    }

    function showTime() {
      const total = player.duration();
      find(".time").textContent = player.position().toFixed(1) + " / " + total.toFixed(1) + " s";
      seek.value = player.position().toFixed(2);
      find(".cursor").style.left = total ? (100 * player.position()) / total + "%" : "0";
    }

    function tick() {
      if (!player.playing) { return; }
      showTime();
      requestAnimationFrame(tick);
    }

    // ---- A, B and X

    function fillSides() {
      [[".side-a", 0], [".side-b", 1]].forEach(([what, side]) => {
        const list = find(what);
        list.textContent = "";
        versions().forEach(({ name }, place) => {
          const option = document.createElement("option");
          option.value = String(place);
          option.textContent = name;
          list.append(option);
        });
        // The last two versions are the model before and after, where there are two models.
        list.value = String(Math.max(0, versions().length - 2 + side));
      });
      state.x = null;
    }

    const side = (name) => Number(find(".side-" + name).value);

    function hearX() {
      if (state.x === null) { state.x = Math.random() < 0.5 ? "a" : "b"; }
      hear(side(state.x), true);
    }

    function guess(name) {
      if (state.x === null) { find(".guesses").textContent = "Hear X first."; return; }
      const right = name === state.x;
      state.guesses += 1;
      state.right += right;
      const chance = byChance(state.right, state.guesses);
      find(".guesses").textContent = (right ? "Right" : "Wrong") + ": X was " + state.x.toUpperCase() + ". " + state.right + " of " + state.guesses
        + " right; guessing alone does as well with a probability of " + chance.toFixed(2) + ".";
      state.x = null;
      if (state.hidden) { stop(); select(player.active); }
    }

    function byChance(right, of) { // P(at least so many right) of a fair coin
      let term = 0.5 ** of;
      let sum = 0;
      for (let k = 0; k <= of; k += 1) {
        if (k >= right) { sum += term; }
        term *= (of - k) / (k + 1);
      }
      return sum;
    }

    // ---- wiring

    items.forEach(({ element, versions: rows }) => rows.forEach(({ row, name }, place) => {
      const head = row.querySelector("th");
      const button = document.createElement("button");
      button.type = "button";
      if (place < 9) {
        const key = document.createElement("kbd");
        key.textContent = String(place + 1);
        button.append(key, " ");
        button.setAttribute("aria-keyshortcuts", String(place + 1));
      }
      button.append(name);
      button.setAttribute("aria-label", "Hear " + name);
      head.textContent = "";
      head.append(button);
      button.addEventListener("click", () => toggle(place));
    }));
    find(".play").addEventListener("click", () => { if (player.playing) { stop(); } else { load().then(start); } });
    find(".loop").addEventListener("click", () => change(() => { player.loop = !player.loop; }));
    find(".match").addEventListener("change", () => select(player.active, state.hidden));
    pick.addEventListener("change", () => choose(Number(pick.value)));
    seek.addEventListener("input", () => { const at = Number(seek.value); change(() => { player.offset = at; }); });
    find(".hear-a").addEventListener("click", () => hear(side("a")));
    find(".hear-b").addEventListener("click", () => hear(side("b")));
    find(".hear-x").addEventListener("click", hearX);
    find(".x-is-a").addEventListener("click", () => guess("a"));
    find(".x-is-b").addEventListener("click", () => guess("b"));
    for (const what of [".side-a", ".side-b"]) { find(what).addEventListener("change", () => { state.x = null; }); }

    const picture = find(".levels");
    picture.addEventListener("click", (event) => load().then(() => {
      const box = picture.getBoundingClientRect();
      change(() => { player.offset = ((event.clientX - box.left) / box.width) * player.duration(); });
    }));
    picture.addEventListener("pointermove", (event) => {
      if (!state.ready || state.hidden) { return; }
      const box = picture.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width;
      const y = 1 - (event.clientY - box.top) / box.height;
      const { clip, rate } = versions()[player.active];
      const found = levelsOf(clip, player.buffers[player.active], rate / 2);
      const frame = found.frames[Math.min(found.frames.length - 1, Math.max(0, Math.floor(x * found.frames.length)))];
      const value = frame[Math.min(found.bins - 1, Math.max(0, Math.floor(y * found.bins)))] - found.peak;
      find(".under").textContent = (x * player.duration()).toFixed(2) + " s, " + ((y * rate) / 2000).toFixed(2) + " kHz, " + value.toFixed(0) + " dB";
    });

    root.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) { return; }
      const kind = event.target.tagName;
      const typing = kind === "SELECT" || event.target.type === "checkbox";
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      const place = "123456789".indexOf(key);
      if (typing && key !== "Escape") { return; }
      if (place >= 0 && place < versions().length) {
        hear(place);
      } else if (key === " " && kind !== "BUTTON") {
        find(".play").click();
      } else if (key === "a" || key === "b") {
        hear(side(key));
      } else if (key === "x") {
        hearX();
      } else if (key === "l") {
        find(".loop").click();
      } else if ((key === "ArrowLeft" || key === "ArrowRight") && kind !== "INPUT") {
        const by = key === "ArrowLeft" ? -STEP_S : STEP_S;
        change(() => { player.offset = Math.max(0, Math.min(player.duration() - 0.02, player.offset + by)); });
      } else {
        return;
      }
      event.preventDefault();
    });

    const api = { stop, state, player, select, choose, root };
    choose(0);
    // The picture is there before anything plays, once the player is on the screen.
    window.addEventListener("resize", paint);
    new IntersectionObserver((seen, observer) => {
      if (seen.some((each) => each.isIntersecting)) { observer.disconnect(); load(); }
    }).observe(root);
    return api;
  }

  const peaks = new WeakMap();

  function peakOf(buffer) {
    if (!peaks.has(buffer)) {
      let peak = 1e-6;
      for (const sample of buffer.getChannelData(0)) { peak = Math.max(peak, Math.abs(sample)); }
      peaks.set(buffer, peak);
    }
    return peaks.get(buffer);
  }

  const players = all(document, ".player").map(build);
  window.audiopruneState = window.audiopruneState || [];
  window.audiopruneState.push({
    name: "players",
    busy: () => players.some(({ player }) => player.playing),
    save: () => players.map(({ state, player }) => ({ item: state.item, active: player.active, offset: player.offset })),
    load: (kept) => kept.forEach((each, place) => {
      if (!players[place] || each.item >= players[place].root.querySelectorAll(".item").length) { return; }
      players[place].choose(each.item);
      players[place].select(each.active);
      players[place].player.offset = each.offset;
    }),
  });
})();
