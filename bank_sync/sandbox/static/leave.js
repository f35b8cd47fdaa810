/* The way out: the link, or Escape twice, puts a neutral page in place of this one, and the way back doesn't lead here. */

const TWICE_WITHIN = 2000;

const link = document.getElementById("leave");
let escaped = -Infinity;

function leave(event) {
  event.preventDefault();
  document.body.replaceChildren();
  document.title = "";
  location.replace(link.href);
}

link.addEventListener("click", leave);
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.repeat) return;
  if (event.timeStamp - escaped < TWICE_WITHIN) leave(event);
  escaped = event.timeStamp;
});
