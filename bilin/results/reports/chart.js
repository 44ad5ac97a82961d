"use strict";

/* Figures: lines in a panel for each task (`showLines`), a map of models by tasks (`showMap`), and bars
   for the computation of each tier (`showBars`). */

const [WIDTH, HEIGHT] = [360, 230];
const EDGE = { left: 42, right: 16, top: 8, bottom: 36 };
const [INNER_WIDTH, INNER_HEIGHT] = [WIDTH - EDGE.left - EDGE.right, HEIGHT - EDGE.top - EDGE.bottom];
const MOST_LINES = 24; // shown at first
const MOST_MARKERS = 12; // on a line
const CIVIDIS = [[0, 32, 76], [0, 42, 102], [58, 66, 108], [92, 92, 110], [124, 123, 120], [159, 152, 110], [194, 183, 94], [233, 217, 66], [255, 233, 69]];
const MARKERS = {
  o: "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0Z", s: "M-3-3H3V3H-3Z", "^": "M0-4 4 3H-4Z", v: "M0 4 4-3H-4Z",
  "<": "M-4 0 3 4V-4Z", ">": "M4 0-3 4V-4Z", D: "M0-4 4 0 0 4-4 0Z", p: "M0-4 4-1 2 3H-2L-4-1Z",
  h: "M0-4 3-2V2L0 4-3 2V-2Z", P: "M-1-4H1V-1H4V1H1V4H-1V1H-4V-1H-1Z", X: "M-3-4 0-1 3-4 4-3 1 0 4 3 3 4 0 1-3 4-4 3-1 0-4-3Z",
};

function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/* Return rows of a table as objects. */
function objects(table) {
  return Array.from({ length: table.numRows }, (_, row) =>
    Object.fromEntries(table.columns.map((column) => [column.name, valueAt(column, row)])));
}

function grouped(rows, key) {
  const groups = new Map();
  for (const row of rows) groups.set(row[key], [...(groups.get(row[key]) ?? []), row]);
  return groups;
}

function short(value) {
  return value === null ? "–" : String(Number(value.toPrecision(3)));
}

function describe(figure, row) {
  const interval = row.low === null ? "" : ` [${short(row.low)}, ${short(row.high)}]`;
  const at = row[figure.x] === null ? "" : `, ${figure.xLabel} ${short(row[figure.x])}`;
  const seeds = `${row.num_seeds} seed${row.num_seeds === 1 ? "" : "s"}`;
  const lost = row.num_lost ? `, ${row.num_lost} diverged or failed` : "";
  const pruned = row.num_pruned ? `, ${row.num_pruned} pruned` : "";
  const chosen = row.selected === "true" ? ", selected" : "";
  return `${row[figure.line]}${at}: ${short(row.value)}${interval}, ${seeds}${lost}${pruned}${chosen}`;
}

function ticks(low, high, isLog, values) {
  const inside = [...new Set(values)].filter((value) => value >= low && value <= high).sort((a, b) => a - b);
  if (inside.length <= 6 && values.length) return inside;
  if (isLog && high / low > 30) {
    const powers = Array.from({ length: 20 }, (_, index) => 10 ** (index - 9));
    return powers.filter((power) => power >= low && power <= high);
  }
  const rough = (high - low) / 5;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * unit >= rough) * unit;
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, index) => (first + index) * step);
}

function showLines(place, figure) {
  const rows = objects(figure.table).filter((row) => row.value !== null);
  const names = [...new Set(rows.map((row) => row[figure.line]))];
  const hidden = new Set(names.slice(MOST_LINES));
  const xs = rows.map((row) => row[figure.x]).filter((x) => x !== null);
  const isLog = figure.isLog && Math.min(...new Set(xs)) > 0;
  const scale = isLog ? Math.log : Number;
  const shaded = rows.flatMap((row) => (row.train_low === undefined ? [] : [row.train_low, row.train_high]));
  const [leftmost, rightmost] = [least([...xs, ...shaded]), most([...xs, ...shaded])];
  const whole = margins(scale(leftmost), scale(rightmost));
  const [bottom, top] = figure.isShare
    ? [Math.min(-0.1, least(rows.map((row) => row.low ?? row.value)) - 0.05), 1.1]
    : margins(Math.min(0, least(rows.map((row) => row.low ?? row.value))), most(rows.map((row) => row.high ?? row.value)));
  let [low, high] = whole;
  let marked = null;
  const toX = (x) => EDGE.left + ((scale(x) - low) / (high - low)) * INNER_WIDTH;
  const toY = (y) => EDGE.top + ((top - y) / (top - bottom)) * INNER_HEIGHT;

  const tip = element("div", { className: "tip", hidden: true });
  const panels = [...grouped(rows, "task")].map(([task, its]) => {
    const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, tabindex: 0, role: "img", "aria-label": `${figure.yLabel} by ${figure.xLabel}, ${task}` });
    const panel = { task, rows: its, lines: grouped(its, figure.line), svg };
    listen(panel);
    return panel;
  });
  const legend = element("div", { className: "legend", role: "group", "aria-label": "Lines" },
    ...names.map(legendButton), everyButton("all", []), everyButton("none", names));
  place.replaceChildren(legend, element("div", { className: "panels" }, ...panels.map((panel) =>
    element("figure", {}, element("figcaption", {}, panel.task.replaceAll("_", " ")), panel.svg))), tip);

  function legendButton(name) {
    const look = figure.looks[name];
    const sample = shape("svg", { viewBox: "-18 -6 36 12", "aria-hidden": "true" },
      shape("path", { d: "M-18 0H18", class: "line", ...stroke(look) }), shape("path", { d: MARKERS[look.marker], fill: ink(look) }));
    const button = element("button", { type: "button", "aria-pressed": "true" }, sample, name);
    button.dataset.name = name;
    button.addEventListener("click", () => {
      if (!hidden.delete(name)) hidden.add(name);
      draw();
    });
    button.addEventListener("pointerenter", () => draw(name));
    button.addEventListener("pointerleave", () => draw());
    return button;
  }

  function everyButton(text, those) {
    const button = element("button", { type: "button" }, text);
    button.addEventListener("click", () => {
      hidden.clear();
      those.forEach((name) => hidden.add(name));
      draw();
    });
    return button;
  }

  /* Draw every panel; the line of one name may stand out. */
  function draw(name = marked?.row[figure.line]) {
    panels.forEach((panel) => drawPanel(panel, name));
    for (const button of legend.querySelectorAll("[data-name]")) button.setAttribute("aria-pressed", !hidden.has(button.dataset.name));
  }

  function drawPanel(panel, name) {
    const inside = shape("svg", { x: EDGE.left, y: EDGE.top, width: INNER_WIDTH, height: INNER_HEIGHT, viewBox: `${EDGE.left} ${EDGE.top} ${INNER_WIDTH} ${INNER_HEIGHT}` });
    const shade = panel.rows[0];
    if (shade.train_low !== undefined) {
      const [from, to] = [shade.train_low, shade.train_high].map(toX);
      inside.append(shape("rect", { x: from, y: EDGE.top, width: Math.max(0, to - from), height: INNER_HEIGHT, class: "shade" }));
    }
    const shown = [...panel.lines].filter(([line]) => !hidden.has(line)).sort(([a], [b]) => (a === name) - (b === name));
    const dim = (line) => (name !== undefined && line !== name && panel.lines.has(name) ? " dim" : "");
    for (const [line, points] of shown) inside.append(...bandOf(points, figure.looks[line], dim(line)));
    for (const [line, points] of shown) inside.append(...lineOf(points, figure.looks[line], dim(line)));
    if (marked?.panel === panel && !hidden.has(name)) {
      inside.append(shape("circle", { cx: xOf(marked.row), cy: toY(marked.row.value), r: 7, class: "point" }));
    }
    panel.svg.replaceChildren(...axes(), inside);
  }

  const xOf = (row) => (row[figure.x] === null ? EDGE.left + INNER_WIDTH / 2 : toX(row[figure.x]));

  function bandOf(points, look, dim) {
    const banded = points.filter((row) => row.low !== null && row[figure.x] !== null && row.low !== row.high);
    if (!banded.length) return [];
    const ends = [...banded.map((row) => [xOf(row), toY(row.high)]), ...banded.reverse().map((row) => [xOf(row), toY(row.low)])];
    return [shape("path", { d: `M${ends.join("L")}Z`, class: `band${dim}`, fill: ink(look) })];
  }

  function lineOf(points, look, dim) {
    const level = points.filter((row) => row[figure.x] === null).map((row) => `M${EDGE.left} ${toY(row.value)}h${INNER_WIDTH}`);
    const placed = points.filter((row) => row[figure.x] !== null);
    const every = Math.ceil(placed.length / MOST_MARKERS);
    const path = placed.length ? `M${placed.map((row) => [xOf(row), toY(row.value)]).join("L")}` : "";
    const at = (row) => ({ transform: `translate(${xOf(row)} ${toY(row.value)})` });
    return [
      shape("path", { d: level.join("") + path, class: `line${dim}`, ...stroke(look) }),
      ...placed.filter((_, index) => index % every === 0).map((row) =>
        shape("path", { d: MARKERS[look.marker], class: dim, fill: ink(look), ...at(row) })),
      ...placed.filter((row) => row.selected === "true").map((row) =>
        shape("circle", { r: 7, class: `ring${dim}`, stroke: ink(look), ...at(row) })),
      ...placed.filter((row) => row.num_lost).map((row) =>
        shape("path", { d: "M-5-5 5 5M5-5-5 5", class: `ring${dim}`, stroke: ink(look), ...at(row) })),
    ];
  }

  function axes() {
    const [left, right] = isLog ? [Math.exp(low), Math.exp(high)] : [low, high];
    const floor = EDGE.top + INNER_HEIGHT;
    const shapes = [];
    for (const y of ticks(bottom, top, false, figure.isShare && bottom > -0.2 ? [0, 0.2, 0.4, 0.6, 0.8, 1] : [])) {
      shapes.push(shape("path", { d: `M${EDGE.left} ${toY(y)}h${INNER_WIDTH}`, class: "grid" }),
        shape("text", { x: EDGE.left - 5, y: toY(y) + 4, "text-anchor": "end" }, short(y)));
    }
    let free = -Infinity;
    for (const x of ticks(left, right, isLog, xs)) {
      if (toX(x) < free) continue;
      free = toX(x) + 12 + 6 * short(x).length;
      shapes.push(shape("path", { d: `M${toX(x)} ${floor}v4`, class: "axis" }),
        shape("text", { x: toX(x), y: floor + 16, "text-anchor": "middle" }, short(x)));
    }
    return [...shapes, shape("path", { d: `M${EDGE.left} ${EDGE.top}V${floor}h${INNER_WIDTH}`, class: "axis" }),
      shape("text", { x: EDGE.left + INNER_WIDTH / 2, y: HEIGHT - 4, "text-anchor": "middle" }, figure.xLabel),
      shape("text", { x: -EDGE.top - INNER_HEIGHT / 2, y: 11, transform: "rotate(-90)", "text-anchor": "middle" }, figure.yLabel)];
  }

  /* Show the numbers of a point, or of none. */
  function mark(panel, row, isAloud = false) {
    if (marked?.row === row) return;
    marked = row && { panel, row };
    tip.hidden = !row;
    draw();
    if (!row) return;
    tip.textContent = describe(figure, row);
    if (isAloud) say(`${panel.task}, ${tip.textContent}`);
    const [outer, box] = [place.getBoundingClientRect(), panel.svg.getBoundingClientRect()];
    const ratio = box.width / WIDTH;
    const x = box.left - outer.left + xOf(row) * ratio;
    const isLeft = x > outer.width / 2;
    tip.style.left = isLeft ? "auto" : `${x + 12}px`;
    tip.style.right = isLeft ? `${outer.width - x + 12}px` : "auto";
    tip.style.top = `${box.top - outer.top + toY(row.value) * ratio + 12}px`;
  }

  function seen(panel) {
    return panel.rows.filter((row) => !hidden.has(row[figure.line]) && xOf(row) >= EDGE.left - 1 && xOf(row) <= WIDTH - EDGE.right + 1);
  }

  function zoom(from, to) {
    [low, high] = to - from > 1e-9 ? [from, to] : whole;
    draw();
  }

  function listen(panel) {
    const at = (event) => {
      const box = panel.svg.getBoundingClientRect();
      return [((event.clientX - box.left) * WIDTH) / box.width, ((event.clientY - box.top) * WIDTH) / box.width];
    };
    const toValue = (x) => low + ((Math.min(WIDTH - EDGE.right, Math.max(EDGE.left, x)) - EDGE.left) / INNER_WIDTH) * (high - low);
    let start = null;
    panel.svg.addEventListener("pointerdown", (event) => (start = at(event)[0]));
    panel.svg.addEventListener("pointermove", (event) => {
      const [x, y] = at(event);
      if (event.buttons && start !== null) {
        panel.svg.querySelector(".zooming")?.remove();
        panel.svg.append(shape("rect", { x: Math.min(start, x), y: EDGE.top, width: Math.abs(x - start), height: INNER_HEIGHT, class: "zooming" }));
        return;
      }
      const distance = (row) => (row[figure.x] === null ? 0 : Math.abs(xOf(row) - x)) + Math.abs(toY(row.value) - y);
      mark(panel, seen(panel).reduce((best, row) => (best && distance(best) <= distance(row) ? best : row), null));
    });
    panel.svg.addEventListener("pointerup", (event) => {
      const x = at(event)[0];
      if (start !== null && Math.abs(x - start) > 8) zoom(toValue(Math.min(start, x)), toValue(Math.max(start, x)));
      start = null;
    });
    panel.svg.addEventListener("pointerleave", () => {
      start = null;
      mark(panel, null);
    });
    panel.svg.addEventListener("dblclick", () => zoom(...whole));
    panel.svg.addEventListener("blur", () => mark(panel, null));
    panel.svg.addEventListener("keydown", (event) => onKey(panel, event));
  }

  function onKey(panel, event) {
    const rows = seen(panel);
    const current = marked?.panel === panel ? marked.row : null;
    const middle = current && current[figure.x] !== null ? scale(current[figure.x]) : (low + high) / 2;
    const by = (factor) => zoom(Math.max(whole[0], middle - factor * (high - low)), Math.min(whole[1], middle + factor * (high - low)));
    const along = (step) => {
      const its = current ? rows.filter((row) => row[figure.line] === current[figure.line]) : rows;
      return its[(its.indexOf(current) + step + its.length) % its.length];
    };
    const across = (step) => {
      const lines = [...new Set(rows.map((row) => row[figure.line]))];
      const line = lines[(lines.indexOf(current?.[figure.line]) + step + lines.length) % lines.length];
      const its = rows.filter((row) => row[figure.line] === line);
      return its.find((row) => row[figure.x] === current?.[figure.x]) ?? its[0];
    };
    const moves = { ArrowRight: () => along(1), ArrowLeft: () => along(-1), ArrowDown: () => across(1), ArrowUp: () => across(-1) };
    const others = { "+": () => by(0.25), "=": () => by(0.25), "-": () => by(1), 0: () => zoom(...whole), Escape: () => mark(panel, null) };
    if (moves[event.key] && rows.length) mark(panel, moves[event.key](), true);
    else if (others[event.key] && !event.ctrlKey && !event.metaKey) others[event.key]();
    else return;
    event.preventDefault();
  }

  draw();
}

const least = (values) => values.reduce((low, value) => Math.min(low, value), Infinity);
const most = (values) => values.reduce((high, value) => Math.max(high, value), -Infinity);

function margins(low, high) {
  const more = 0.04 * (high - low) || 0.5;
  return [low - more, high + more];
}

/* Return the colour of a look. Black, which a dark page hides, becomes the colour of the text. */
function ink(look) {
  return look.colour === "#000000" ? "var(--text)" : look.colour;
}

function stroke(look) {
  return { stroke: ink(look), "stroke-dasharray": look.dash.map((length) => 1.8 * length).join(" ") };
}

function showMap(place, figure) {
  const rows = objects(figure.table);
  const models = grouped(rows, "model");
  const tasks = [...new Set(rows.map((row) => row.task))];
  const head = element("tr", {}, element("td"), ...tasks.map((task) => element("th", { scope: "col" }, task.replaceAll("_", " "))));
  const lines = [...models].map(([model, its]) =>
    element("tr", {}, element("th", { scope: "row" }, model), ...tasks.map((task) => mapCell(its.find((row) => row.task === task)))));
  place.replaceChildren(element("div", { className: "scroll map", tabIndex: 0, role: "region", "aria-label": "Map of models by tasks" },
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines))));
}

function mapCell(row) {
  if (!row || row.value === null) {
    const hasFailed = row?.failed === "true";
    return element("td", { className: hasFailed ? "" : "none", title: hasFailed ? "every trial failed" : "no result yet" }, hasFailed ? "×" : "");
  }
  const share = Math.min(1, Math.max(0, row.value));
  const at = Math.min(CIVIDIS.length - 2, Math.floor(share * (CIVIDIS.length - 1)));
  const part = share * (CIVIDIS.length - 1) - at;
  const colour = CIVIDIS[at].map((from, index) => Math.round(from + part * (CIVIDIS[at + 1][index] - from)));
  const text = (row.value < 1 ? Math.min(row.value, 0.99) : row.value).toFixed(2).replace("-0.00", "0.00");
  const interval = row.low === null ? "" : ` [${short(row.low)}, ${short(row.high)}]`;
  const cell = element("td", { title: `${row.model}, ${row.task}, length ${row.length}: ${short(row.value)}${interval}, ${row.num_seeds} seeds` }, text);
  cell.style.backgroundColor = `rgb(${colour})`;
  cell.style.color = share > 0.47 ? "#000" : "#fff"; // whichever is easier to read
  return cell;
}

function showBars(place, figure) {
  const rows = objects(figure.table);
  const longest = most(rows.map((row) => row.hours)) || 1; // no time is known of some older trials
  const lines = rows.map((row) => {
    const bar = element("div", { className: "bar" });
    bar.style.width = `${(100 * row.hours) / longest}%`;
    bar.style.backgroundColor = ink(figure.looks[row.tier]);
    const trials = `${row.num_trials} × ${timeOf(row.hours / row.num_trials)}`;
    const onGpu = row.gpu_hours ? `${timeOf(row.gpu_hours)} on GPUs` : "";
    return element("tr", {}, element("th", { scope: "row" }, row.tier), element("td", { className: "room" }, bar),
      ...[timeOf(row.hours), trials, onGpu].map((text) => element("td", {}, text)));
  });
  place.replaceChildren(element("div", { className: "scroll bars", tabIndex: 0, role: "region", "aria-label": "Computation of each tier" },
    element("table", {}, element("tbody", {}, ...lines))));
}

function timeOf(hours) {
  const [number, unit] = hours >= 1 ? [hours, "h"] : hours >= 1 / 60 ? [hours * 60, "min"] : [hours * 3600, "s"];
  return `${short(number)} ${unit}`;
}
