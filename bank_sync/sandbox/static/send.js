/* The page that hashes and sends. It never reads a file: the worker does, and answers with the hash. */

/* As many hashes as the bank takes in one case. */
const MOST = 200;

const WORDS = {
  waiting: "waits",
  unreadable:
    "can't be opened here. If it is a HEIC or RAW picture, save it as JPEG on the device that made it and pick that. " +
    "It is left out.",
  double: "is the same as another one here. It is sent once.",
  masked:
    "can't be hashed, because this browser hides from pages what they draw, as a protection from being recognised. " +
    "Allow it for this page, or use another browser. It is left out.",
  faint: "has too little in it to be recognised, like a page of one colour. It is left out.",
};

const at = (id) => document.getElementById(id);
const worker = new Worker("/static/hashing.js", { type: "module" });
const files = new Map();
let counter = 0;
let letter = "";

worker.addEventListener("message", ({ data: { number, ...told } }) => {
  const file = files.get(number);
  if (!file) return;
  Object.assign(file, told);
  show();
});
worker.addEventListener("error", () => {
  at("said").textContent = "This browser can't make hashes. A newer one can; nothing was sent.";
});

at("files").addEventListener("change", (event) => {
  for (const file of event.target.files) {
    const number = counter++;
    const line = document.createElement("li");
    files.set(number, { name: file.name, line });
    worker.postMessage({ number, file });
    const words = document.createElement("span");
    const remove = document.createElement("button");
    remove.type = "button";
    remove.textContent = "Remove";
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    remove.addEventListener("click", () => {
      files.delete(number);
      worker.postMessage({ number });
      line.remove();
      at("files").focus();
      show();
    });
    line.append(words, remove);
    at("picked").append(line);
  }
  event.target.value = "";
  show();
});

/* The files whose hashes are sent, each hash once. */
function ready() {
  const hashed = [...files.values()].filter((file) => file.hashValue);
  return hashed.filter((file, place) => hashed.findIndex((other) => other.hashValue === file.hashValue) === place);
}

function show() {
  const all = [...files.values()];
  const good = ready();
  for (const file of all) file.line.firstChild.textContent = `${file.name}: ${state(file, good)}`;
  const busy = all.filter((file) => !file.hashValue && !file.refused);
  at("said").textContent = said(all.length, busy, good.length);
  const text = JSON.stringify(letterOf(good), null, 1);
  if (at("letter").textContent !== text) {
    at("letter").textContent = text;
    letter = fresh();
  }
  at("send").textContent = good.length === 1 ? "Send 1 hash" : `Send ${good.length} hashes`;
  at("sending").hidden = busy.length > 0 || good.length === 0 || good.length > MOST;
}

function said(all, busy, good) {
  if (all === 0) return "";
  if (busy.length > 0) {
    // A large video takes minutes: a screen reader hears its quarters.
    const quarter = 25 * Math.floor(4 * Math.max(...busy.map((file) => file.share ?? 0)));
    const way = quarter ? ` The next is at ${quarter} %.` : "";
    return `Making hashes on this device: ${all - busy.length} of ${all} done.${way}`;
  }
  if (good > MOST) return `A case holds ${MOST}. Remove ${good - MOST}, and send those as a second case.`;
  return `${good} of ${all} ready.`;
}

function state(file, good) {
  if (file.refused) return WORDS[file.refused];
  if (file.hashValue && !good.includes(file)) return WORDS.double;
  if (file.hashValue) return file.signalType === "VideoMD5" ? "video, ready" : "picture, ready";
  return file.share === undefined ? WORDS.waiting : `video, ${Math.floor(100 * file.share)} %`;
}

function letterOf(good) {
  return { hashes: good.map(({ signalType, hashValue }) => ({ signalType, hashValue })) };
}

/* A random name for one list of hashes: sent again after a lost answer, it opens no second case. */
function fresh() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

at("send").addEventListener("click", async () => {
  const good = ready();
  hold(true);
  at("problem").textContent = "";
  try {
    const answer = await fetch("/cases", {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": letter },
      body: JSON.stringify(letterOf(good)),
      credentials: "omit",
    });
    if (answer.ok) return sent(await answer.json(), good);
    if (answer.status >= 500) throw new Error("The bank failed half way.");
    at("problem").textContent = "The bank did not take it, and kept nothing. Please try again later.";
    hold(false);
  } catch {
    // It may have been taken: what is sent again must be the same, or a case would be left that nobody can take back.
    at("problem").textContent = "No answer came. Please send again: it will not be counted twice.";
    at("send").disabled = false;
  }
  at("send").focus();
});

/* Nothing is added or removed while it is sent. */
function hold(on) {
  for (const control of document.querySelectorAll("#files, #picked button, #send")) control.disabled = on;
}

function sent({ caseNumber, pin }, good) {
  at("number").textContent = at("same-number").value = caseNumber;
  at("pin").textContent = at("same-pin").value = pin;
  for (const file of good) at("order").append(Object.assign(document.createElement("li"), { textContent: file.name }));
  files.clear();
  for (const id of ["picked", "letter"]) at(id).replaceChildren();
  for (const id of ["lead", "picking", "said", "picked", "sending"]) at(id).hidden = true;
  document.title = `Sent – ${document.title}`;
  at("sent").hidden = false;
  at("sent-title").focus();
}
