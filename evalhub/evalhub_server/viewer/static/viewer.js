// The script of all pages: relative times, live parts, the keyboard. Pages work without it.

const policy = globalThis.trustedTypes?.createPolicy("evalhub", { createHTML: (text) => text });
const parsed = (text) => new DOMParser().parseFromString(policy ? policy.createHTML(text) : text, "text/html");

// Live part: a conditional GET of the same URL with part=live. Hidden tabs request nothing.

const FASTEST_S = 3;
const SLOWEST_S = 60;
let tag = "";
let timer = 0;
let failures = 0;

function liveUrl() {
  const url = new URL(location.href);
  url.searchParams.set("part", "live");
  url.hash = "";
  return url;
}

// Seconds between updates; 0 for a page that does not change, or whose log is followed.
const refreshS = () => Number(document.getElementById("live")?.dataset.refresh || 0);

function schedule() {
  clearTimeout(timer);
  if (!refreshS() || document.hidden) return;
  timer = setTimeout(update, Math.min(Math.max(refreshS(), FASTEST_S) * 2 ** failures, SLOWEST_S) * 1000);
}

async function update() {
  try {
    const answer = await fetch(liveUrl(), { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
    if (answer.status === 200) {
      tag = answer.headers.get("etag") || "";
      patch(parsed(await answer.text()).getElementById("live"));
    } else if (answer.status === 401) return stale("Your session has ended. Reload the page to log in.");
    else if (answer.status !== 304) throw new Error(String(answer.status));
    if (failures) stale("");
    failures = 0;
  } catch {
    failures = Math.min(failures + 1, 5);
    stale("Connection lost, retrying. What you see may be out of date.");
  }
  schedule();
}

function stale(text) {
  let strip = document.getElementById("stale");
  if (!text) return strip?.remove();
  if (!strip) {
    strip = document.createElement("p");
    strip.id = "stale";
    strip.className = "notice";
    document.getElementById("main").prepend(strip);
  }
  strip.textContent = text;
}

// Rows are changed in place and never moved: what is being read stays where it is. New rows are announced by a link.
function patch(fresh) {
  const old = document.getElementById("live");
  if (!fresh || !old) return;
  old.dataset.refresh = fresh.dataset.refresh;
  if (fresh.dataset.title) document.title = fresh.dataset.title;
  tell(fresh.dataset.news);
  for (const details of old.querySelectorAll("details[id]")) {
    fresh.querySelector(`#${CSS.escape(details.id)}`)?.toggleAttribute("open", details.open);
  }
  const rows = [...fresh.querySelectorAll("[data-rows] tbody tr[id]")];
  const table = old.querySelector("[data-rows]");
  if (!rows.length || !table) {
    if (!old.contains(document.activeElement) || document.activeElement === document.body) old.replaceWith(fresh);
    return;
  }
  let added = 0;
  for (const row of rows) {
    const current = document.getElementById(row.id);
    if (!current) added += 1;
    else if (current.innerHTML !== row.innerHTML) replaceCells(current, row);
  }
  for (const part of fresh.querySelectorAll("[data-live]")) {
    const current = old.querySelector(`[data-live="${CSS.escape(part.dataset.live)}"]`);
    if (current && current.outerHTML !== part.outerHTML && !current.contains(document.activeElement)) current.replaceWith(part);
  }
  const notice = document.getElementById("new-rows");
  if (!added) notice?.remove();
  else {
    const link = notice ?? Object.assign(document.createElement("a"), { id: "new-rows", className: "notice", href: location.href });
    link.textContent = `${added} new · show`;
    if (!notice) table.closest(".table-box").before(link);
  }
}

function replaceCells(row, fresh) {
  const cells = [...row.children];
  [...fresh.children].forEach((cell, index) => {
    const current = cells[index];
    if (current && current.outerHTML !== cell.outerHTML && !current.contains(document.activeElement)) current.replaceWith(cell);
  });
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else if (refreshS()) update();
});
schedule();

// Look

const LOOKS = ["auto", "light", "dark"];
function nextTheme() {
  const root = document.documentElement;
  root.dataset.theme = LOOKS[(LOOKS.indexOf(root.dataset.theme) + 1) % LOOKS.length];
  document.cookie = `evalhub_theme=${root.dataset.theme}; Path=${cookiePath()}; Max-Age=31536000; SameSite=Strict`;
  announce(`Theme: ${root.dataset.theme}`);
}
const cookiePath = () => location.pathname.replace(/\/ui(\/.*)?$/, "/ui");

// News of the live part for screen readers: a sentence that changed, at most one in ten seconds.
const NEWS_S = 10;
let news = document.getElementById("live")?.dataset.news;
let toldAt = 0;
function tell(text) {
  if (!text || text === news || Date.now() - toldAt < NEWS_S * 1000) return;
  news = text;
  toldAt = Date.now();
  announce(text);
}

function announce(text) {
  document.getElementById("announcement").textContent = text;
}

// Keyboard: never with modifiers, never in fields.

let selected = -1;
const rowsOfPage = () => [...document.querySelectorAll("[data-rows] tbody tr")];
function move(step) {
  const rows = rowsOfPage();
  if (!rows.length) return;
  rows[selected]?.classList.remove("selected");
  selected = Math.min(Math.max(selected + step, 0), rows.length - 1);
  rows[selected].classList.add("selected");
  rows[selected].scrollIntoView({ block: "nearest" });
  rows[selected].querySelector("a")?.focus({ preventScroll: true });
}

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  t: nextTheme,
  n: () => walk(1, "a[rel='next']"),
  p: () => walk(-1, "a[rel='prev']"),
  ArrowRight: () => follow("a[rel='next']"),
  ArrowLeft: () => follow("a[rel='prev']"),
  x: () => rowsOfPage()[selected]?.querySelector("input[type='checkbox']")?.click(),
  c: () => document.querySelector("form.selection:has(:checked)")?.requestSubmit(),
};
// Arrows scroll what has the focus; they turn pages only where nothing has it.
const ONLY_ON_PAGE = ["ArrowRight", "ArrowLeft"];

function follow(selector) {
  const target = document.querySelector(selector);
  if (!target) return announce("There is no such link on this page.");
  if (!target.matches("a, button")) target.focus();
  if (target.matches("a, button, summary")) target.click();
}

// From hit to hit of a search in a log; without hits, and beyond the last one, to the next page.
let hit = -1;
function walk(step, link) {
  const hits = document.querySelectorAll("[data-log] mark");
  const target = hits[hit + step];
  if (!target) return follow(link);
  hits[hit]?.classList.remove("chosen");
  hit += step;
  target.classList.add("chosen");
  target.scrollIntoView({ block: "center" });
  announce(`Hit ${hit + 1} of ${hits.length}`);
}

// Any link, button or field of a page can have a key.
function actionOf(key, focused) {
  if (ONLY_ON_PAGE.includes(key) && focused !== document.body && focused.id !== "main") return undefined;
  if (KEYS[key]) return KEYS[key];
  const selector = `[data-shortcut="${CSS.escape(key)}"]`;
  return document.querySelector(selector) ? () => follow(selector) : undefined;
}

// Second keys after g.
const SECTIONS = { j: "/jobs", l: "/leaderboards", t: "/trend", k: "/catalog", h: "/health" };
let going = false;

function keysAreOn() {
  return !document.cookie.includes("evalhub_keys=off");
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented || !keysAreOn()) return;
  if (event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
  const section = going && SECTIONS[event.key];
  going = event.key === "g" && !going;
  const action = section ? () => follow(`.top nav a[href$="/ui${section}"]`) : actionOf(event.key, event.target);
  if (!action) return;
  event.preventDefault();
  action();
});

// The list of shortcuts, with a switch for readers whose assistive technology uses single keys.

const SHORTCUTS = [
  ["?", "This list"],
  ["/", "Filter"],
  ["j k", "Next and previous row"],
  ["Enter", "Open the row"],
  ["x c", "Select the row, compare the selected jobs"],
  ["n p → ←", "Next and previous page or sample; n p also: hit of a search in a log"],
  ["e m", "Next error, next failed sample"],
  ["u", "Up"],
  ["d", "Difference of a sample: off, words, characters"],
  ["w", "Wrap the lines of a log"],
  ["r", "Raw: the JSON of a sample, all repeated lines of a log"],
  ["f", "Follow the log of a running benchmark"],
  ["y", "Copy the address of this view"],
  ["t", "Theme: that of the system, light, dark"],
  ["g j, l, t, k, h", "Jobs, leaderboards, trend, catalogue, health"],
];

function element(name, text = "", properties = {}) {
  return Object.assign(document.createElement(name), { textContent: text }, properties);
}

function shortcuts() {
  const dialog = element("dialog", "", { id: "shortcuts" });
  const list = element("dl", "", { className: "facts" });
  for (const [keys, what] of SHORTCUTS) list.append(element("dt", keys, { className: "mono" }), element("dd", what));
  const onOff = element("input", "", { type: "checkbox", checked: keysAreOn() });
  onOff.addEventListener("change", () => {
    document.cookie = `evalhub_keys=${onOff.checked ? "on" : "off"}; Path=${cookiePath()}; Max-Age=31536000; SameSite=Strict`;
  });
  const label = element("label");
  label.append(onOff, " Use these keys");
  const close = element("button", "Close", { type: "button" });
  close.addEventListener("click", () => dialog.close());
  dialog.setAttribute("aria-labelledby", "shortcuts-heading");
  dialog.append(element("h2", "Shortcuts", { id: "shortcuts-heading" }), list, label, close);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
KEYS["?"] = shortcuts;
KEYS.y = async () => {
  await navigator.clipboard?.writeText(location.href);
  announce("Copied the address of this view");
};
for (const button of document.querySelectorAll("[data-action]")) {
  button.hidden = false;
  button.addEventListener("click", { shortcuts, theme: nextTheme }[button.dataset.action]);
}

// Copies of texts exactly as they are: what pages show has invisible characters replaced.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", () => copy(button.dataset.copy));
}

async function copy(url) {
  try {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(String(answer.status));
    const text = await answer.text();
    await navigator.clipboard.writeText(text);
    const invisible = [...text].filter((each) => /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(each) && !"\n\t".includes(each)).length;
    announce(`Copied ${[...text].length} characters${invisible ? `, ${invisible} of them invisible` : ""}`);
  } catch {
    announce("The text could not be copied.");
  }
}

// The log of a benchmark that runs: its new lines are appended while the tab is visible. It stays at the end until one scrolls up.

const FOLLOW_S = 2;
const MAX_LOG_LINES = 2000;
const log = document.querySelector("[data-log]");
const more = document.getElementById("more-lines");
let following = true;
let unseen = 0;
const atEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 40;

function toEnd() {
  scrollTo(0, document.documentElement.scrollHeight);
  following = true;
  unseen = 0;
  more.hidden = true;
}

async function followLog() {
  let wait = FOLLOW_S;
  try {
    const url = liveUrl();
    for (const [name, value] of Object.entries({ at: log.dataset.at, next: log.dataset.next })) url.searchParams.set(name, value);
    const answer = await fetch(url, { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = parsed(await answer.text()).getElementById("live");
    Object.assign(log.dataset, { at: fresh.dataset.at, next: fresh.dataset.next, log: fresh.dataset.log });
    appendLines([...fresh.querySelectorAll(".lines > *")]);
    stale("");
  } catch {
    stale("Connection lost, retrying. What you see may be out of date.");
    wait = 5 * FOLLOW_S;
  }
  if (log.dataset.log === "follow") setTimeout(whenVisible, wait * 1000);
  else announce("The log has ended.");
}

function appendLines(nodes) {
  const lines = log.querySelector(".lines");
  for (const node of nodes) {
    document.getElementById(node.id)?.remove();
    lines.append(node);
  }
  if (!nodes.length) return;
  log.querySelector(".empty")?.remove();
  while (lines.childElementCount > MAX_LOG_LINES) lines.firstElementChild.remove();
  if (following) return toEnd();
  unseen += nodes.length;
  more.textContent = `↓ ${unseen} new ${unseen === 1 ? "line" : "lines"}`;
  more.hidden = false;
}

function whenVisible() {
  if (document.hidden) document.addEventListener("visibilitychange", whenVisible, { once: true });
  else followLog();
}

// Anchors of several lines: #L120-L140
function chooseLines() {
  for (const line of document.querySelectorAll(".line.chosen")) line.classList.remove("chosen");
  const [, first, last] = /^#L(\d+)-L?(\d+)$/.exec(location.hash) ?? [];
  for (let number = Number(first); number <= Number(last) && number - first <= MAX_LOG_LINES; number += 1) {
    const line = document.getElementById(`L${number}`);
    line?.classList.add("chosen");
    if (number === Number(first)) line?.scrollIntoView({ block: "center" });
  }
}

if (log) {
  chooseLines();
  addEventListener("hashchange", chooseLines);
  log.addEventListener("click", (event) => {
    if (event.target.matches("span.no")) location.hash = event.target.parentElement.id;
  });
  if (log.dataset.log === "follow") {
    if (location.hash) following = false;
    else toEnd();
    more.addEventListener("click", toEnd);
    addEventListener("scroll", () => { if ((following = atEnd())) { unseen = 0; more.hidden = true; } }, { passive: true });
    KEYS.f = () => (following ? (following = false) : toEnd());
    setTimeout(whenVisible, FOLLOW_S * 1000);
  }
}
