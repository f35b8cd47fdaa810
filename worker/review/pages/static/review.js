// Keys, a countdown and a sign of life for the page of one review. Everything here can be done by its buttons as well.
"use strict";

(() => {
  const verdicts = document.getElementById("verdicts");
  const renewEvery = 60;

  // As the page writes a time: its pattern has {M} for minutes and {S} for seconds.
  function words(seconds) {
    const [minutes, rest] = [Math.floor(seconds / 60), String(seconds % 60).padStart(2, "0")];
    return verdicts.dataset.time.replace("{M}", minutes).replace("{S}", rest);
  }

  if (verdicts) {
    const shown = document.getElementById("claim-left");
    let until = Date.now() + Number(verdicts.dataset.left) * 1000;
    let gone = false;

    function end() {
      gone = true;
      const told = shown.closest("p");
      told.setAttribute("role", "alert");
      told.textContent = verdicts.dataset.gone;
      for (const button of verdicts.querySelectorAll("button")) button.disabled = true;
    }

    let asking = false;

    async function live() {
      if (gone || asking || document.hidden) return;
      asking = true;
      const form = new FormData(verdicts);
      const body = new URLSearchParams({ token: form.get("token"), claim: form.get("claim") });
      try {
        const answer = await fetch(`/reviews/${verdicts.dataset.review}/alive`, { method: "POST", body });
        if (!answer.ok) return;
        const { left } = await answer.json();
        if (left > 0) until = Date.now() + left * 1000;
        else end();
      } catch {
        // The host is away: the countdown goes on, and the next sign of life is tried in a minute.
      } finally {
        asking = false;
      }
    }

    setInterval(() => {
      if (gone) return;
      const left = Math.max(0, Math.round((until - Date.now()) / 1000));
      shown.textContent = words(left);
      // The page was asleep or hidden for long: it asks whether the review is still in these hands.
      if (left === 0) live();
    }, 1000);

    setInterval(live, renewEvery * 1000);
    document.addEventListener("visibilitychange", live);
  }

  // Who has turned the shortcuts of one key off has Tab, the arrow keys and Enter, as on any form.
  if (document.body.dataset.keys === "off") return;

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    // A picture is held open: whatever is pressed now is not meant as a verdict.
    if (document.body.dataset.revealed) return;
    const typing = event.target.matches("textarea, select, input:not([type=radio]):not([type=checkbox])");
    if (typing) return;
    if (event.key === "?") {
      const help = document.getElementById("help");
      if (help) help.open = !help.open;
    } else if (event.key === "Enter") {
      if (verdicts && !event.target.matches("a, button, summary")) {
        event.preventDefault();
        verdicts.requestSubmit();
      }
    } else {
      const choice = verdicts && verdicts.querySelector(`input[name=verdict][data-key="${CSS.escape(event.key)}"]`);
      const keyed = document.querySelector(`:is(button, form)[data-key="${CSS.escape(event.key)}"]`);
      if (choice) {
        choice.checked = true;
        choice.focus();
      } else if (keyed) {
        // Enter presses it, as it sends a verdict: one key alone never acts.
        event.preventDefault();
        (keyed.matches("form") ? keyed.querySelector("button") : keyed).focus();
      }
    }
  });
})();
