"use strict";
// Without this script the page shows all tables in their order and the lines that are drawn at first.
document.documentElement.classList.add("js");
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const body = document.body;

// ---- what belongs to a group: its rows, its lines and bands, its buttons
const groups = new Map();
for (const part of all("[data-g]")) {
  if (!groups.has(part.dataset.g)) groups.set(part.dataset.g, []);
  groups.get(part.dataset.g).push(part);
}
const isDrawn = part => part.matches(".charts [data-g]");
const first = new Map([...groups].map(([g, parts]) => [g, parts.some(p => p.matches("[aria-pressed=true]"))]));

function show(g, on) {
  for (const part of groups.get(g)) {
    if (isDrawn(part)) part.classList.toggle("off", !on);
    else if (part.matches(".toggle")) part.setAttribute("aria-pressed", on);
  }
}

let lit = null;
function point(g) {
  if (g === lit) return;
  if (lit !== null) for (const part of groups.get(lit)) part.classList.remove("lit");
  if (g !== null) for (const part of groups.get(g)) part.classList.add("lit");
  body.classList.toggle("pointing", g !== null);
  lit = g;
}
const groupOf = target => target.closest?.("tr[data-g], .toggle")?.dataset.g ?? null;
body.addEventListener("pointerover", event => { if (!event.target.closest(".charts")) point(groupOf(event.target)); });
body.addEventListener("pointerleave", () => point(null));
body.addEventListener("focusin", event => point(groupOf(event.target)));
body.addEventListener("focusout", () => point(null));
body.addEventListener("click", event => {
  const button = event.target.closest(".toggle");
  if (button) show(button.dataset.g, button.getAttribute("aria-pressed") !== "true");
});

const legend = document.querySelector(".legend");
function choice(text, wanted) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "all";
  button.textContent = text;
  button.addEventListener("click", () => { for (const g of groups.keys()) show(g, wanted(g)); });
  return button;
}
legend?.prepend(choice("all", () => true), choice("none", () => false), choice("as at first", g => first.get(g)));

// ---- only groups whose names hold all the words
const box = document.getElementById("filter");
const texts = new Map(all("#groups .toggle").map(button => [button.dataset.g, button.textContent.toLowerCase()]));
function filter() {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = text => words.every(word => text.includes(word));
  for (const [g, parts] of groups) for (const part of parts) part.classList.toggle("out", !fits(texts.get(g)));
  for (const row of all("#runs tbody tr:not([data-g])")) row.classList.toggle("out", !fits(row.textContent.toLowerCase()));
}
box.addEventListener("input", filter);
if (box.value) filter(); // what a browser kept over a reload

// ---- sorting: numbers as numbers, blanks last either way, equal rows in their order
function key(row, column) {
  const cell = row.cells[column];
  if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
  const text = (cell.querySelector(".toggle") ?? cell).textContent.trim(); // a name without the marks of its notes
  return cell.classList.contains("number") || !text ? null : text;
}
const compare = (a, b) =>
  typeof a === typeof b ? (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }))
    : typeof a === "number" ? -1 : 1;
function sort(table, column, down) {
  const keyed = [...table.tBodies[0].rows].map(row => [key(row, column), row]);
  keyed.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null) : down ? compare(b, a) : compare(a, b));
  table.tBodies[0].append(...keyed.map(([, row]) => row));
  [...table.tHead.rows[0].cells].forEach((head, i) =>
    head.setAttribute("aria-sort", i !== column ? "none" : down ? "descending" : "ascending"));
}
for (const table of all("table")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sort(table, column, head.getAttribute("aria-sort") === "ascending"));
  });
}

// ---- the line nearest to the pointer, and its value there
const points = new WeakMap();
function decode(line) { // pieces "Mx yl..." of whole numbers, each after the first as seen from the one before
  if (points.has(line)) return points.get(line);
  const found = [];
  for (const piece of line.getAttribute("d").split("M").slice(1)) {
    const numbers = piece.match(/-?\d+/g).map(Number);
    let x = 0, y = 0;
    for (let i = 0; i < numbers.length; i += 2) found.push([x += numbers[i], y += numbers[i + 1]]);
  }
  points.set(line, found);
  return found;
}
function nearest(lines, x, y) {
  let best = null, least = Infinity;
  for (const line of lines) for (const [px, py] of decode(line)) {
    const distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance < least) [best, least] = [{ line, x: px, y: py }, distance];
  }
  return best;
}
for (const figure of all(".charts figure")) {
  const [outer, inner] = all("svg", figure), readout = figure.querySelector("output");
  const [left, top, width, height] = outer.dataset.window.split(" ").map(Number);
  const scale = (name, share) => { const [a, b] = outer.dataset[name].split(" ").map(Number); return a + share * (b - a); };
  outer.addEventListener("pointermove", event => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(inner.getScreenCTM().inverse());
    const lines = all(".line", inner).filter(line => !line.classList.contains("out") &&
      !line.classList.contains("off"));
    const found = nearest(lines, at.x, at.y);
    if (!found) return;
    point(found.line.dataset.g);
    const epoch = scale("x", (found.x - left) / width), value = scale("y", 1 - (found.y - top) / height);
    readout.textContent = `${found.line.querySelector("title").textContent}: ` +
      `${+value.toPrecision(4)} at epoch ${+epoch.toFixed(1)}`;
  });
  outer.addEventListener("pointerleave", () => { point(null); readout.textContent = "\u00a0"; });
}
