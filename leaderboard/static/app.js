"use strict";
/* Sorting, the theme, details of a run with every image, and the slider. No library, no network. */
const leaderboard = (() => {
  const boards = {}, waiting = {};
  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const svg = (tag, attributes, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const address = (path) => path.split("/").map(encodeURIComponent).join("/");
  const shown = (value, metric) => value === null || value === undefined ? "–" : value.toFixed(metric === "psnr" ? 2 : 4);

  /* ---------------------------------------------------------------- theme */
  const night = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "night" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const remember = (value) => { try { localStorage.setItem("theme", value); } catch { /* storage may be forbidden */ } };
  const recall = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const label = () => {
    const button = document.getElementById("theme");
    button.classList.toggle("night", night());
    button.setAttribute("aria-label", `Switch to the ${night() ? "day" : "night"} theme`);
  };
  const kept = recall();
  if (kept === "day" || kept === "night") document.documentElement.dataset.theme = kept;

  /* ---------------------------------------------------------------- sorting */
  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const now = head.getAttribute("aria-sort"), first = head.dataset.first;
      const order = now === "none" ? first : now === "ascending" ? "descending" : "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", other === head ? order : "none"));
      const sign = order === "ascending" ? 1 : -1, body = table.tBodies[0];
      const value = (row) => row.cells[column].dataset.value;
      const rows = [...body.rows].sort((a, b) => {
        const x = value(a), y = value(b);
        if (!x || !y) return !x && !y ? 0 : x ? -1 : 1; // what is missing stays last
        const numbers = !Number.isNaN(Number(x)) && !Number.isNaN(Number(y));
        return sign * (numbers ? Number(x) - Number(y) : x.localeCompare(y, undefined, { numeric: true }));
      });
      body.append(...rows);
    }));
  };

  /* ---------------------------------------------------------------- details of one run */
  const load = (name) => boards[name] ? Promise.resolve(boards[name]) : new Promise((resolve, reject) => {
    waiting[name] = resolve;
    const script = make("script", { src: `data/${address(name)}.js` });
    script.addEventListener("error", () => reject(new Error(`data/${name}.js is not beside this page`)));
    document.head.append(script);
  });
  const receive = (name, board) => { boards[name] = board; if (waiting[name]) waiting[name](board); };

  const open = async (name, id) => {
    const dialog = document.getElementById("detail");
    let board;
    try { board = await load(name); } catch (error) { dialog.replaceChildren(closing("Not found", error.message)); dialog.showModal(); return; }
    const run = board.runs.find((r) => r.id === id);
    const facts = make("dl", { class: "facts" });
    run.facts.forEach(([term, said]) => facts.append(make("dt", {}, term), make("dd", {}, said)));
    const viewer = make("div", { class: "viewer" });
    const more = make("details", {}, make("summary", {}, "How it was run"), facts);
    const inside = make("div", { class: "inside" }, viewer, strip(board, run), more, table(board, run, viewer));
    dialog.replaceChildren(closing(run.title, `${board.title}, protocol ${board.protocol}`), inside);
    dialog.showModal();
    dialog.scrollTop = 0;
  };
  const closing = (title, about) => {
    const button = make("button", { type: "button", class: "close" }, "Close");
    button.addEventListener("click", () => document.getElementById("detail").close());
    return make("div", { class: "top" }, make("div", {}, make("h2", { id: "detail-title" }, title), make("p", { class: "dim" }, about)), button);
  };

  const strip = (board, run) => { // how the images' scores are spread
    const values = Object.values(run.scores).map((s) => s[0]).filter((v) => v !== null);
    if (values.length < 3) return "";
    const low = Math.min(...values), high = Math.max(...values), bins = Math.min(40, Math.max(8, Math.ceil(values.length / 3)));
    const counts = new Array(bins).fill(0);
    values.forEach((v) => counts[Math.min(bins - 1, Math.floor(((v - low) / (high - low || 1)) * bins))]++);
    const most = Math.max(...counts), metric = board.metrics[0].toUpperCase();
    const drawn = svg("svg", { class: "strip", viewBox: "0 0 600 84", preserveAspectRatio: "none", role: "img", "aria-label": `${metric} of ${values.length} images, from ${low.toFixed(2)} to ${high.toFixed(2)}` });
    counts.forEach((n, i) => drawn.append(svg("rect", { x: (i * 600) / bins + 1, width: 600 / bins - 2, y: 62 - (60 * n) / most, height: (60 * n) / most })));
    return make("div", {}, drawn, make("p", { class: "dim" }, `${metric} of single images: ${low.toFixed(2)} to ${high.toFixed(2)}`));
  };

  const table = (board, run, viewer) => {
    const input = board.runs.find((r) => r.id.startsWith("input--") && r !== run);
    const names = ["Image", ...board.metrics.map((m) => m.toUpperCase()), ...(input ? [`${board.metrics[0].toUpperCase()} over input`] : [])];
    const head = make("tr");
    names.forEach((n, i) => head.append(make("th", { scope: "col", "aria-sort": "none", "data-first": i ? "descending" : "ascending" }, make("button", { type: "button" }, n))));
    const body = make("tbody");
    const seen = new Set(run.seen);
    const pick = (key) => {
      for (const row of body.rows) row.dataset.key === key ? row.setAttribute("aria-current", "true") : row.removeAttribute("aria-current");
      view(board, run, key, viewer);
    };
    board.keys.filter((k) => run.scores[k]).forEach((key) => {
      const scores = run.scores[key];
      const name = run.images[key] || board.inputs[key] ? make("button", { type: "button", class: "open" }, key) : document.createTextNode(key);
      if (name.tagName) name.addEventListener("click", () => { pick(key); viewer.scrollIntoView({ block: "nearest" }); });
      const cell = make("th", { scope: "row", "data-value": key }, name);
      if (seen.has(key)) cell.append(make("span", { class: "badge warn" }, "seen"));
      const row = make("tr", { "data-key": key }, cell);
      scores.forEach((v, i) => row.append(make("td", { "data-value": v }, shown(v, board.metrics[i]))));
      if (input) {
        const before = input.scores[key] && input.scores[key][0];
        const gain = scores[0] === null || before === null || before === undefined ? null : scores[0] - before;
        row.append(make("td", { "data-value": gain }, gain === null ? "–" : (gain >= 0 ? "+" : "") + gain.toFixed(2)));
      }
      body.append(row);
    });
    const made = make("table", { class: "sortable images" }, make("thead", {}, head), body);
    sortable(made);
    const first = board.keys.find((k) => run.images[k]);
    if (first) pick(first);
    else viewer.replaceChildren(make("p", { class: "dim" }, "No images here: run the benchmark with --save-images to see them side by side."));
    return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Every image" }, made);
  };

  /* ---------------------------------------------------------------- two pictures under a line */
  let left = "input", map = false, at = 50; // kept from image to image
  const view = (board, run, key, viewer) => {
    const choices = { };
    if (board.inputs[key]) choices.input = ["Input", board.inputs[key]];
    if (board.targets[key]) choices.target = ["Target", board.targets[key]];
    board.runs.forEach((r) => { if (r !== run && r.images[key]) choices[r.id] = [r.title, r.images[key]]; });
    const mine = run.images[key];
    if (!mine || !Object.keys(choices).length) { viewer.replaceChildren(make("p", { class: "dim" }, `No pictures of ${key}.`)); return; }
    if (!choices[left]) left = Object.keys(choices)[0];
    const select = make("select", { "aria-label": "Left of the line" });
    Object.entries(choices).forEach(([id, [title]]) => select.append(make("option", id === left ? { value: id, selected: "" } : { value: id }, title)));
    select.addEventListener("change", () => { left = select.value; view(board, run, key, viewer); viewer.querySelector("select").focus(); });
    const controls = make("div", { class: "controls" }, make("strong", {}, key), make("label", {}, "Left: ", select));
    const stage = make("div", { class: "stage" },
      make("img", { src: address(choices[left][1]), alt: `${key}, ${choices[left][0]}` }),
      make("div", { class: "over" }, make("img", { src: address(mine), alt: `${key}, ${run.title}` })),
      make("div", { class: "bar" }), make("span", { class: "tag left" }, choices[left][0]), make("span", { class: "tag right" }, run.title));
    const slider = make("input", { type: "range", min: 0, max: 100, step: 1, value: at, "aria-label": `Line between ${choices[left][0]} and ${run.title}` });
    const move = () => { at = Number(slider.value); stage.style.setProperty("--x", `${at}%`); };
    slider.addEventListener("input", move);
    stage.append(slider);
    move();
    const parts = [controls, stage];
    if (board.targets[key]) {
      const box = make("input", map ? { type: "checkbox", checked: "" } : { type: "checkbox" });
      const error = make("div", { class: "error", role: "img", "aria-label": `Error of ${run.title}: difference to the target, four times as bright` },
        make("img", { src: address(mine), alt: "" }), make("img", { src: address(board.targets[key]), alt: "" }));
      error.hidden = !map;
      box.addEventListener("change", () => { map = box.checked; error.hidden = !map; });
      controls.append(make("label", {}, box, " Error map (difference to the target, 4x)"));
      parts.push(error);
    }
    viewer.replaceChildren(...parts);
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("table.sortable").forEach(sortable);
    document.getElementById("theme").addEventListener("click", () => {
      const next = night() ? "day" : "night";
      document.documentElement.dataset.theme = next;
      remember(next);
      label();
    });
    label();
    document.querySelectorAll("button.open").forEach((b) => b.addEventListener("click", () => open(b.dataset.board, b.dataset.run)));
    const dialog = document.getElementById("detail");
    dialog.addEventListener("click", (e) => { if (e.target === dialog) dialog.close(); });
  });
  return { receive };
})();
