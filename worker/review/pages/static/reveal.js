// The reveal ladder of a review's page. Nothing is loaded before it is asked for, and whatever covers the picture also
// lets go of its bytes and tells the ledger for how long it was shown. Nothing here reacts to a pointer that only hovers.
"use strict";

(() => {
  const panel = document.querySelector("[data-reveal]");
  if (!panel) return;
  const screen = panel.querySelector("[data-screen]");
  const cover = panel.querySelector("[data-cover]");
  const said = panel.querySelector("[data-said]");
  const holding = panel.querySelector("[data-hold]");
  // The page says everything in its own language.
  const words = panel.dataset;
  const KEYS = new Set([" ", "Enter"]);

  // The one look that is asked for or shown; null while covered.
  let look = null;

  function say(text) {
    said.textContent = text;
  }

  function uncover(mine) {
    mine.image.className = mine.rung === "1" ? "mosaic" : "";
    if (mine.rung === "1" && mine.shape) mine.image.style.aspectRatio = mine.shape.replace(" ", " / ");
    mine.image.alt = words.picture;
    cover.hidden = true;
    screen.append(mine.image);
    mine.since = performance.now();
    mine.timer = setTimeout(() => end(words.timeUp), mine.longest * 1000);
    say(words[`shown-${mine.rung}`]);
  }

  // Covers whatever is shown, or calls off what is on its way.
  function end(text) {
    if (!look) return;
    const mine = look;
    look = null;
    delete document.body.dataset.revealed;
    clearTimeout(mine.timer);
    mine.stop.abort();
    if (mine.image) {
      mine.image.removeAttribute("src");
      mine.image.remove();
    }
    if (mine.url) URL.revokeObjectURL(mine.url);
    cover.hidden = false;
    if (mine.button) mine.button.removeAttribute("aria-pressed");
    if (mine.address) {
      const seconds = mine.since === undefined ? 0 : (performance.now() - mine.since) / 1000;
      const form = new URLSearchParams({ token: panel.dataset.token, seconds: seconds.toFixed(2) });
      navigator.sendBeacon(mine.address + "/covered", form);
    }
    say(text);
  }

  async function problem(answer) {
    try {
      return (await answer.json()).problem || words.notShown;
    } catch {
      return `${words.notShown} (${answer.status})`;
    }
  }

  async function begin(button, rung, region) {
    end(words.covered);
    const mine = { button, rung, stop: new AbortController() };
    look = mine;
    // While a button is held no key is meant as a verdict.
    if (button.dataset.rung) document.body.dataset.revealed = "yes";
    button.setAttribute("aria-pressed", "true");
    say(words.loading);
    try {
      const form = new URLSearchParams({ token: panel.dataset.token, rung, region: region || "" });
      const purpose = panel.querySelector("[data-purpose]");
      if (purpose && purpose.value) form.set("purpose", purpose.value);
      const asked = await fetch(panel.dataset.reveal, {
        method: "POST",
        body: form,
        headers: { Accept: "application/json" },
        signal: mine.stop.signal,
      });
      if (!asked.ok) return fail(mine, await problem(asked));
      const told = await asked.json();
      mine.address = told.address;
      mine.longest = told.seconds;
      if (look !== mine) return;
      const sent = await fetch(mine.address, { cache: "no-store", signal: mine.stop.signal });
      if (!sent.ok) return fail(mine, await problem(sent));
      mine.shape = sent.headers.get("Hashwarden-Shape");
      const bytes = await sent.blob();
      if (look !== mine) return;
      mine.url = URL.createObjectURL(bytes);
      mine.image = new Image();
      mine.image.src = mine.url;
      await mine.image.decode();
      if (look === mine) uncover(mine);
    } catch {
      if (look === mine) fail(mine, words.notLoaded);
    }
  }

  function fail(mine, text) {
    if (look !== mine) return;
    mine.address = undefined;
    end(text);
  }

  for (const button of panel.querySelectorAll("form button[name=rung]")) {
    button.addEventListener("click", (event) => {
      event.preventDefault();
      if (look && look.button === button) end(words.covered);
      else begin(button, button.value, "");
    });
  }

  for (const button of panel.querySelectorAll("[data-rung]")) {
    const start = () => begin(button, button.dataset.rung, button.dataset.region);
    const release = () => {
      if (look && look.button === button) end(words.covered);
    };
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      start();
    });
    for (const ended of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) {
      button.addEventListener(ended, release);
    }
    button.addEventListener("keydown", (event) => {
      if (!KEYS.has(event.key)) return;
      event.preventDefault();
      if (!event.repeat) start();
    });
    button.addEventListener("keyup", (event) => {
      if (KEYS.has(event.key)) release();
    });
    // A long touch opens a menu, which would end the hold.
    button.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  screen.addEventListener("contextmenu", (event) => event.preventDefault());
  window.addEventListener("blur", () => end(words.left));
  for (const leaving of ["pagehide", "beforeprint"]) window.addEventListener(leaving, () => end(words.covered));
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) end(words.hidden);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") end(words.covered);
  });

  if (holding) holding.hidden = false;
})();
