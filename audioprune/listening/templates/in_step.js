"use strict";
// What plays recordings on any page: all versions of one run in step, and one of them is heard, so that switching keeps the position.
const audiopruneAudio = (() => {
  const FADE_S = 0.01;
  const AHEAD_S = 0.02; // all versions begin at one time that is still to come
  const END_S = 0.01;

  function bytesOf(base64) {
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i += 1) { bytes[i] = text.charCodeAt(i); }
    return bytes.buffer;
  }

  // wake() gives the running context, level(place) the gain of a version that is heard; ended() is told when all have come to their end.
  function inStep({ wake, level, ended }) {
    let context = null;
    let sources = [];
    let gains = [];
    let begun = 0;

    const player = {
      buffers: [], active: 0, playing: false, loop: true, from: 0, to: 0, offset: 0,

      hold(buffers) {
        player.buffers = buffers;
        player.from = 0;
        player.to = player.duration();
      },

      duration() { return player.buffers.length ? Math.min(...player.buffers.map((buffer) => buffer.duration)) : 0; },

      position() {
        if (!player.playing) { return player.offset; }
        const at = player.offset + Math.max(0, context.currentTime - begun);
        if (!player.loop) { return Math.min(at, player.duration()); }
        return at < player.to ? at : player.from + ((at - player.from) % (player.to - player.from));
      },

      start() {
        context = wake();
        if (player.loop && (player.offset < player.from || player.offset >= player.to)) { player.offset = player.from; }
        if (!player.loop && player.offset >= player.duration() - END_S) { player.offset = 0; }
        begun = context.currentTime + AHEAD_S;
        gains = player.buffers.map((_, place) => {
          const gain = context.createGain();
          gain.gain.value = place === player.active ? level(place) : 0;
          gain.connect(context.destination);
          return gain;
        });
        sources = player.buffers.map((buffer, place) => {
          const source = context.createBufferSource();
          source.buffer = buffer;
          source.loop = player.loop;
          source.loopStart = player.from;
          source.loopEnd = player.to;
          source.connect(gains[place]);
          source.start(begun, player.offset);
          return source;
        });
        const first = sources[0];
        first.onended = () => { if (sources[0] === first) { player.stop(); player.offset = 0; ended(); } };
        player.playing = true;
      },

      stop() {
        if (!player.playing) { return; }
        player.offset = player.position();
        player.playing = false;
        const old = sources;
        sources = [];
        old.forEach((source) => { source.stop(); source.disconnect(); });
        gains.forEach((gain) => gain.disconnect());
      },

      select(place) {
        player.active = place;
        if (!player.playing) { return; }
        const now = context.currentTime;
        gains.forEach((gain, other) => {
          gain.gain.cancelScheduledValues(now);
          gain.gain.setValueAtTime(gain.gain.value, now);
          gain.gain.linearRampToValueAtTime(other === place ? level(other) : 0, now + FADE_S);
        });
      },

      change(set) { // loop, ends or position while playing: all versions start again together
        const was = player.playing;
        player.stop();
        set();
        if (was) { player.start(); }
      },
    };
    return player;
  }

  return { bytesOf, inStep };
})();
