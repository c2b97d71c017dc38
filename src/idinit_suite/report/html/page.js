// What the page does: choose claims by verdict, draw charts as they come into view, compare, sort tables.
const PERCENT = { accuracy: ".0%", loss: "" };
const TITLES = { epoch: "epoch", step: "step", time: "time in minutes", flops: "FLOPs" };
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
}

async function load() {  // the charting library is a module of its own, packed like the data
  const script = document.createElement("script");
  script.type = "module";
  script.textContent = await (await unpack(document.getElementById("library").textContent)).text();
  document.head.append(script);
  while (!window.vegaEmbed) await new Promise((next) => setTimeout(next, 5));
  return (await unpack(document.getElementById("data").textContent)).json();
}
const data = await load();

function rowsOf(variants, shown) {
  const rows = [];
  const scale = { epoch: () => 1, step: (one) => one.steps, time: (one) => one.seconds / 60, flops: (one) => one.flops }[shown.x];
  const fits = (value) => value !== null && (!shown.log || value > 0);
  for (const variant of variants) {
    const unit = scale(variant);
    if (!unit) continue;
    const series = variant.splits[shown.split];
    const [means, lows, highs] = series[shown.metric];
    const every = Math.max(1, Math.round(means.length / 8));
    means.forEach((y, i) => {
      if (!fits(y)) return;
      const whole = fits(lows[i]) && fits(highs[i]);
      rows.push({ x: unit * series.epoch[i], y, low: whole ? lows[i] : null, high: whole ? highs[i] : null, variant: variant.label,
        run: variant.label, kind: "mean", mark: i % every === 0 || i === means.length - 1 });
    });
    variant.diverged.filter((run) => run.split === shown.split).forEach((run, number) => {
      const points = run.epoch.map((epoch, i) => [unit * epoch, run[shown.metric][i]]).filter(([, y]) => fits(y));
      const base = { variant: variant.label, run: variant.label + " " + number, mark: false };
      points.forEach(([x, y]) => rows.push({ ...base, x, y, kind: "diverged" }));
      if (points.length) rows.push({ ...base, x: unit * run.end, y: points.at(-1)[1], kind: "end" });
    });
  }
  return rows;
}

async function embed(target, spec) {
  const actions = { export: true, source: false, compiled: false, editor: false };
  await vegaEmbed(target, spec, { mode: "vega-lite", renderer: "svg", actions });
  target.querySelector("summary")?.setAttribute("aria-label", "Save this chart");
}

function draw(target, section, variants, shown, title, subtitle) {
  const spec = structuredClone(data.chart);
  const rows = rowsOf(variants, shown);
  const drawn = variants.filter((one) => rows.some((row) => row.variant === one.label));
  if (drawn.length > data.bands) spec.layer = spec.layer.filter(({ mark }) => mark.type !== "area");  // they would hide the lines
  const distinct = new Set(drawn.map((one) => one.name)).size === drawn.length;  // else several recipes of one
  const looks = drawn.map((one, i) => distinct ? data.looks[one.name] : data.spare[i % data.spare.length]);
  const columns = Math.max(1, Math.floor(target.clientWidth / 190));
  for (const { encoding } of spec.layer) {
    encoding.x.title = TITLES[shown.x];
    encoding.x.axis = { format: shown.x === "flops" ? "~s" : "~r", tickCount: Math.min(10, Math.floor(target.clientWidth / 60)) };
    encoding.y.title = `${shown.split} ${shown.metric}`;
    encoding.y.scale.type = shown.log ? "log" : "linear";
    encoding.y.axis = { format: shown.log ? "" : PERCENT[shown.metric] };
    for (const [channel, key] of [["color", "colour"], ["strokeDash", "dash"], ["shape", "shape"]]) {
      if (!encoding[channel]) continue;
      encoding[channel].scale = { domain: drawn.map((one) => one.label), range: looks.map((look) => look[key]) };
      if (encoding[channel].legend) encoding[channel].legend.columns = columns;
    }
    if (shown.metric === "loss" && !shown.log) encoding.y.scale.domain = section.loss;  // one that explodes must not flatten the others
  }
  if (title) spec.title = { text: title, subtitle, limit: target.clientWidth };
  spec.data.values = rows;
  spec.description = `${shown.split} ${shown.metric} of ${drawn.length} variants by ${TITLES[shown.x]}`;
  return embed(target, spec);
}

function panels(container, section, variants, shown, titled = false) {
  return Promise.all([...new Set(variants.map((one) => one.model))].map((model) => {
    const target = document.createElement("div");
    container.append(target);
    const title = [titled && section.name, model].filter(Boolean).join(", ");
    return draw(target, section, variants.filter((one) => one.model === model), shown, title, titled ? section.scale : "");
  }));
}

function drawLayers(target, { title, steps, maps }) {
  const spec = structuredClone(data.layers);
  const highest = Math.max(...Object.values(maps).map(({ layers }) => Object.keys(layers).length));
  spec.title = { text: title, fontSize: 14, offset: 12 };
  spec.columns = [4, 2, 1].find((count) => count * 280 <= target.clientWidth) ?? 1;
  spec.concat = spec.concat.filter((map) => map.name in maps);
  for (const map of spec.concat) {
    const { limits, layers } = maps[map.name];
    map.width = target.clientWidth / spec.columns - 150;  // beside it are the names of the layers
    map.height = Math.min(420, 14 * highest);
    map.encoding.color.scale.domain = limits;
    map.data = { values: Object.entries(layers).flatMap(([name, values]) =>
      values.map((value, i) => ({ layer: name.replace(/\.weight$/, ""), step: steps[i], value }))) };
  }
  return embed(target, spec);
}

function drawChart(target) {
  const section = data.sections[target.dataset.key];
  if (target.dataset.kind === "map") {
    const spec = structuredClone(section.map.chart);
    spec.columns = Math.max(1, Math.min(3, Math.floor(target.clientWidth / 330)));
    spec.data.values = section.map.rows;
    return embed(target, spec);
  }
  if (target.dataset.kind === "layers") return drawLayers(target, section.layers[target.dataset.name]);
  const own = section.variants.filter((one) => one.own);
  return panels(target, section, own, { metric: section.metric, split: "validation", x: "epoch", log: false });
}

async function fill(element) {  // a chart or a picture, once
  if (element.dataset.ready) return;
  element.dataset.ready = "yes";
  if (element.matches("img")) {
    const svg = await (await unpack(element.dataset.packed)).arrayBuffer();
    delete element.dataset.packed;
    element.src = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
    await element.decode();
  } else {
    await drawChart(element);
  }
}

const compare = document.querySelector("#compare");
function compared() {
  const form = compare.querySelector("form");
  const checked = (name) => all(`[name=${name}]:checked`, form).map((box) => box.value);
  const shown = { metric: form.metric.value, split: form.split.value, x: form.x.value, log: form.log.checked };
  const sections = checked("section").map((key) => data.sections[key]);
  const chosen = new Set(checked("variant"));
  const container = compare.querySelector(".panels");
  container.replaceChildren();
  return Promise.all(sections.map((section) => {
    const variants = section.variants.filter((one) => chosen.has(one.name) && (one.own || form.recipes.checked));
    return panels(container, section, variants, shown, true);
  }));
}

function offerVariants() {
  const form = compare.querySelector("form");
  const boxes = form.querySelector(".boxes");
  const off = new Set(all("[name=variant]:not(:checked)", form).map((box) => box.value));
  const keys = all("[name=section]:checked", form).map((box) => box.value);
  const names = new Set(keys.flatMap((key) => data.sections[key].variants.map((one) => one.name)));
  boxes.replaceChildren(...Object.keys(data.looks).filter((name) => names.has(name)).map((name) => {
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", name: "variant", value: name, checked: !off.has(name) });
    label.append(box, " " + name);
    return label;
  }));
}

if (compare) {
  offerVariants();
  compare.addEventListener("change", (event) => {
    if (event.target.name === "section") offerVariants();
    compared();
  });
  all("legend button", compare).forEach((button) => button.addEventListener("click", () => {
    all("[name=variant]", compare).forEach((box) => { box.checked = button.value === "all"; });
    compared();
  }));
}

all(".switch button").forEach((button) => button.addEventListener("click", () => {
  all(".switch button").forEach((other) => other.setAttribute("aria-pressed", other === button));
  all(".card").forEach((card) => { card.hidden = button.value !== "" && card.dataset.outcome !== button.value; });
}));

function sortable(table) {
  all("thead th", table).forEach((head, column) => {
    if (!head.textContent) return;  // the corner of a grid
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const body = table.tBodies[0];
      const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
      const known = (row) => row.cells[column].dataset.sort !== "";
      const compare = (a, b) => key(a).localeCompare(key(b), "en", { numeric: true });
      const numbers = (a, b) => Number(key(a)) - Number(key(b));
      const numeric = [...body.rows].some((row) => row.cells[column].dataset.sort !== undefined);
      const rows = [...body.rows].sort((a, b) => known(b) - known(a) || (falling ? -1 : 1) * (numeric ? numbers : compare)(a, b));
      body.append(...rows);
    });
  });
}
all("table.sortable").forEach(sortable);

const waiting = all(".chart, img[data-packed]");
const seen = new IntersectionObserver((entries) => {
  entries.filter((entry) => entry.isIntersecting).forEach((entry) => { seen.unobserve(entry.target); fill(entry.target); });
}, { rootMargin: "400px" });
waiting.forEach((element) => seen.observe(element));
const opened = () => document.getElementById(location.hash.slice(1))?.closest("details")?.setAttribute("open", "");
window.addEventListener("hashchange", opened);
opened();
let folded = [];
window.addEventListener("beforeprint", () => {
  folded = all("details:not([open])").filter((one) => !one.closest(".vega-embed"));
  folded.forEach((one) => { one.open = true; });
});
window.addEventListener("afterprint", () => folded.forEach((one) => { one.open = false; }));
if (waiting.length) await fill(waiting[0]);
if (compare) await compared();
document.body.dataset.ready = Math.round(performance.now());
// what is further down follows when there is time, so that a print has it
for (const element of waiting) await fill(element).catch(console.error);
document.body.dataset.whole = Math.round(performance.now());
