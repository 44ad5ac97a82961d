"use strict";

/* Data is decompressed, and figures and tables are drawn, when they come into view, and the others when the browser
   has nothing else to do: what prints the page does not wait. */

async function data(name) {
  const packed = document.getElementById(`data-${name}`).textContent;
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(unpacked).text());
}

const drawings = new Map();

/* Draw the figure or the table of a place, once. */
function draw(place) {
  if (!drawings.has(place)) drawings.set(place, drawOnce(place).catch((error) => refuse(place, error)));
  return drawings.get(place);
}

function refuse(place, error) {
  console.error(error);
  place.append(`This browser cannot show what is here (${error}). One of 2023 or later can.`);
}

async function drawOnce(place) {
  if (place.dataset.figure) {
    const figure = await data(place.dataset.figure);
    const show = { heatmap: showMap, cost: showBars }[figure.kind] ?? showLines;
    show(place.querySelector(".drawing"), figure);
  } else {
    showTable(place, (await data(place.dataset.table)).table, place.dataset.label);
  }
}

const places = document.querySelectorAll("[data-figure], [data-table]");
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
}, { rootMargin: "600px" });
places.forEach((place) => watcher.observe(place));

function drawRest() {
  const next = [...places].find((place) => !drawings.has(place));
  if (next) draw(next).then(whenIdle);
}

/* Safari has no requestIdleCallback. */
function whenIdle() {
  (window.requestIdleCallback ?? setTimeout)(drawRest);
}

addEventListener("load", whenIdle);

for (const button of document.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => {
    const grid = button.closest("details").querySelector("pre").textContent;
    const link = element("a", { href: URL.createObjectURL(new Blob([grid], { type: "application/json" })), download: button.dataset.save });
    link.click();
    URL.revokeObjectURL(link.href);
  });
}
