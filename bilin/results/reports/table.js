"use strict";

/* A table of any number of rows that can be sorted and filtered. Only the rows in view are in the page.
   Its columns are those of the data: `numbers`, or `values` that `codes` refer to, with -1 for none. */

const ROW_PX = 29;
const ROWS_MORE = 8; // above and below those in view
const ROWS_PRINTED = 200; // of a table, at most

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function say(text) {
  document.getElementById("said").textContent = text;
}

function valueAt(column, row) {
  if (column.numbers) return column.numbers[row];
  return column.codes[row] < 0 ? null : column.values[column.codes[row]];
}

function textAt(column, row) {
  const value = valueAt(column, row);
  return value === null ? "" : String(value);
}

/* Return a function of a row: whether it has every word of a filter. `name=x`, `name!=x`, `name>x` and so on compare
   a column; any other word must be in some column. */
function matcher(table, filter) {
  const words = filter.match(/(?:"[^"]*"|[^\s"])+/g) ?? [];
  const tests = words.map((word) => {
    const text = word.replaceAll('"', "").toLowerCase();
    const [, name, sign, wanted] = text.match(/^(.+?)(!=|>=|<=|=|>|<)(.+)$/) ?? [];
    const column = table.columns.find((each) => each.name.toLowerCase() === name);
    return column ? comparison(column, sign, wanted) : anywhere(table.columns, text);
  });
  return (row) => tests.every((test) => test(row));
}

function comparison(column, sign, wanted) {
  const number = Number(wanted);
  const isEqual = (value) => String(value).toLowerCase() === wanted || (column.numbers && value === number);
  const accepts = {
    "=": isEqual, "!=": (value) => !isEqual(value), ">": (value) => value > number, "<": (value) => value < number,
    ">=": (value) => value >= number, "<=": (value) => value <= number,
  }[sign];
  return (row) => {
    const value = valueAt(column, row);
    return value === null ? sign === "!=" : accepts(value);
  };
}

function anywhere(columns, text) {
  const tests = columns.map((column) => {
    if (column.numbers) return (row) => column.numbers[row] !== null && String(column.numbers[row]).includes(text);
    const found = column.values.map((value) => value.toLowerCase().includes(text)); // each value is looked at once
    return (row) => column.codes[row] >= 0 && found[column.codes[row]];
  });
  return (row) => tests.some((test) => test(row));
}

/* Sort rows by a column, equal ones as they were; those without a value come last. */
function sorted(rows, column, isDescending) {
  const ranks = column.values && [...column.values.keys()].sort((a, b) => (column.values[a] < column.values[b] ? -1 : 1));
  const rankOf = ranks && new Int32Array(ranks.length);
  ranks?.forEach((code, rank) => (rankOf[code] = rank));
  const sign = isDescending ? -1 : 1;
  const key = (row) => (column.numbers ? column.numbers[row] ?? NaN : column.codes[row] < 0 ? NaN : rankOf[column.codes[row]]);
  const keys = Float64Array.from(column.numbers ?? column.codes, (_, row) => sign * key(row));
  return rows.slice().sort((a, b) => {
    if (Number.isNaN(keys[a]) || Number.isNaN(keys[b])) return Number.isNaN(keys[a]) - Number.isNaN(keys[b]);
    return keys[a] - keys[b];
  });
}

function showTable(place, table, label) {
  const all = Array.from({ length: table.numRows }, (_, row) => row);
  let [rows, order, isDescending, isPrinted] = [all, null, false, false];
  const input = element("input", { type: "search", placeholder: "tier=cp lr>0.001 failed", spellcheck: false });
  const count = element("span", { role: "status" });
  const buttons = table.columns.map((column) => element("button", { type: "button" }, column.name));
  const heads = table.columns.map((column, index) =>
    element("th", { scope: "col", className: column.numbers ? "number" : "" }, buttons[index]));
  const body = element("tbody");
  const widths = element("colgroup", {}, ...table.columns.map((column) => {
    const col = element("col");
    col.style.width = `${widthOf(column)}ch`;
    return col;
  }));
  const grid = element("table", { "aria-rowcount": table.numRows + 1 },
    widths, element("thead", {}, element("tr", { "aria-rowindex": 1 }, ...heads)), body);
  grid.style.width = `${table.columns.reduce((sum, column) => sum + widthOf(column), 0)}ch`;
  const box = element("div", { className: "rows", tabIndex: 0, role: "region", "aria-label": label }, grid);
  place.replaceChildren(
    element("div", { className: "filter" }, element("label", {}, "Filter ", input), count), box);

  function draw() {
    const first = isPrinted ? 0 : Math.max(0, Math.floor(box.scrollTop / ROW_PX) - ROWS_MORE);
    const count = isPrinted ? ROWS_PRINTED : Math.ceil((box.clientHeight || 400) / ROW_PX) + 2 * ROWS_MORE;
    const last = Math.min(rows.length, first + count);
    const shown = rows.slice(first, last).map((row, index) => {
      const cells = table.columns.map((column) => {
        const text = textAt(column, row);
        return element("td", { className: column.numbers ? "number" : "", title: text.length > 30 ? text : "" }, text);
      });
      return element("tr", { "aria-rowindex": first + index + 2 }, ...cells);
    });
    body.replaceChildren(gap(first), ...shown, isPrinted ? more(rows.length - last) : gap(rows.length - last));
  }

  function more(numRows) {
    const row = element("tr", {}, element("td", { colSpan: table.columns.length }, `and ${numRows} more rows`));
    row.hidden = numRows === 0;
    return row;
  }

  function gap(numRows) {
    const row = element("tr", { ariaHidden: "true" });
    row.style.height = `${numRows * ROW_PX}px`;
    row.hidden = numRows === 0;
    return row;
  }

  function update() {
    const accepts = matcher(table, input.value);
    rows = input.value.trim() ? all.filter(accepts) : all;
    if (order) rows = sorted(rows, order, isDescending);
    count.textContent = `${rows.length} of ${table.numRows} rows`;
    grid.setAttribute("aria-rowcount", rows.length + 1);
    box.scrollTop = 0;
    draw();
  }

  function print(isNow) {
    isPrinted = isNow;
    draw();
  }

  buttons.forEach((button, index) => button.addEventListener("click", () => {
    const column = table.columns[index];
    isDescending = order === column && !isDescending;
    order = column;
    heads.forEach((head, other) => {
      if (other === index) head.setAttribute("aria-sort", isDescending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
      buttons[other].textContent = table.columns[other].name + (other === index ? (isDescending ? " ▼" : " ▲") : "");
    });
    update();
  }));
  input.addEventListener("input", update);
  box.addEventListener("scroll", draw, { passive: true });
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  update();
}

/* Return the width of a column in characters, from some of its values. */
function widthOf(column) {
  const values = column.values ?? column.numbers;
  const longest = values.slice(0, 200).reduce((most, value) => Math.max(most, String(value ?? "").length), 0);
  return Math.min(48, Math.max(longest, column.name.length + 2)) + 3;
}
