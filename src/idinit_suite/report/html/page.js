// What the page does: choose an experiment, choose what its chart shows, sort tables. The charts themselves are Vega-Lite's.
const data = JSON.parse(document.getElementById("data").textContent);
const choice = document.getElementById("experiment");
const sections = [...document.querySelectorAll("section.experiment")];
const PERCENT = { accuracy: ".0%", loss: "" };

function rowsOf(scale, shown) {
  const rows = [];
  const along = (arm, epoch) => shown.x === "epoch" ? epoch : shown.x === "step" ? epoch * arm.steps : epoch * arm.seconds / 60;
  const fits = (value) => value !== null && (!shown.log || value > 0);
  for (const arm of scale.arms) {
    if (!shown.arms.has(arm.label) || (shown.x === "time" && arm.seconds === null)) continue;
    const series = arm.splits[shown.split];
    const [means, lows, highs] = series[shown.metric];
    const every = Math.max(1, Math.round(means.length / 8));
    means.forEach((y, i) => {
      if (!fits(y)) return;
      const whole = fits(lows[i]) && fits(highs[i]);
      rows.push({ x: along(arm, series.epoch[i]), y, low: whole ? lows[i] : null, high: whole ? highs[i] : null, arm: arm.label,
        run: arm.label, kind: "mean", mark: i % every === 0 || i === means.length - 1 });
    });
    arm.diverged.filter((run) => run.split === shown.split).forEach((run, number) => {
      const points = run.epoch.map((epoch, i) => [along(arm, epoch), run[shown.metric][i]]).filter(([, y]) => fits(y));
      const base = { arm: arm.label, run: arm.label + " " + number, mark: false };
      points.forEach(([x, y]) => rows.push({ ...base, x, y, kind: "diverged" }));
      if (points.length) rows.push({ ...base, x: points.at(-1)[0], y: points.at(-1)[1], kind: "end" });
    });
  }
  return rows;
}

async function embed(target, spec) {
  await vegaEmbed(target, spec, { renderer: "svg", actions: { export: true, source: false, compiled: false, editor: false } });
  target.querySelector("summary").setAttribute("aria-label", "Save this chart");
}

function draw(section, scale, shown) {
  const spec = structuredClone(data.chart);
  const rows = rowsOf(scale, shown);
  const domain = scale.arms.filter((arm) => shown.arms.has(arm.label));
  if (domain.length > data.bands) spec.layer = spec.layer.filter(({ mark }) => mark.type !== "area");  // they would hide the lines
  const looks = domain.map((arm) => data.looks[arm.look]);
  const narrow = section.clientWidth < 600;
  for (const { encoding } of spec.layer) {
    encoding.x.title = { epoch: "epoch", step: "step", time: "time in minutes" }[shown.x];
    encoding.y.title = `${shown.split} ${shown.metric}`;
    encoding.y.scale.type = shown.log ? "log" : "linear";
    encoding.y.axis = { format: shown.log ? "" : PERCENT[shown.metric] };
    for (const [channel, key] of [["color", "colour"], ["strokeDash", "dash"], ["shape", "shape"]]) {
      if (!encoding[channel]) continue;
      encoding[channel].scale = { domain: domain.map((arm) => arm.label), range: looks.map((look) => look[key]) };
      if (encoding[channel].legend) encoding[channel].legend.columns = narrow ? 1 : 3;
    }
  }
  if (shown.metric === "loss" && !shown.log) {  // a loss that explodes must not flatten the others
    for (const { encoding } of spec.layer) encoding.y.scale.domain = scale.loss;
  }
  spec.data.values = rows;
  spec.description = `${shown.split} ${shown.metric} of ${domain.length} initializers over ${shown.x}; the table has the final values`;
  return embed(section.querySelector(".curves"), spec);
}

function drawMaps(section, scale) {
  const target = section.querySelector(".maps");
  if (!target) return null;
  const spec = structuredClone(scale.map.chart);
  spec.columns = Math.max(1, Math.min(3, Math.floor(section.clientWidth / 330)));
  spec.data.values = scale.map.rows;
  return embed(target, spec);
}

function read(section) {
  const value = (name) => section.querySelector(`[name=${name}]`).value;
  const arms = [...section.querySelectorAll("fieldset.arms label:not([hidden]) input:checked")].map((box) => box.value);
  const log = section.querySelector("[name=log]").checked;
  return { metric: value("metric"), split: value("split"), x: value("x"), log, arms: new Set(arms) };
}

function applyRecipe(section) {
  const recipe = section.querySelector("[name=recipe]")?.value ?? "all";
  const has = (element) => recipe === "all" || element.dataset[recipe] === "yes";
  section.querySelectorAll("fieldset.arms label, table.arms tbody tr").forEach((element) => { element.hidden = !has(element); });
}

async function unpack(image) {
  const bytes = Uint8Array.from(atob(image.dataset.packed), (letter) => letter.charCodeAt(0));
  delete image.dataset.packed;
  const svg = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  image.src = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  await image.decode();
}

async function show() {
  sections.forEach((section) => { section.hidden = section.id !== choice.value; });
  const section = document.getElementById(choice.value);
  const scale = data.scales[choice.value];
  if (scale && !section.dataset.ready) {
    section.dataset.ready = "yes";
    applyRecipe(section);
    section.querySelectorAll("select, input").forEach((control) => control.addEventListener("change", () => {
      applyRecipe(section);
      draw(section, scale, read(section));
    }));
    section.querySelectorAll("button.plain").forEach((button) => button.addEventListener("click", () => {
      section.querySelectorAll("fieldset.arms input").forEach((box) => { box.checked = button.value === "all"; });
      draw(section, scale, read(section));
    }));
    await Promise.all([draw(section, scale, read(section)), drawMaps(section, scale)]);
  }
  await Promise.all([...section.querySelectorAll("img[data-packed]")].map(unpack));
  document.body.dataset.shown = choice.value;
}

function sortable(table) {
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
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

document.querySelectorAll("table.sortable").forEach(sortable);
const wanted = decodeURIComponent(location.hash.slice(1));
if (sections.some((section) => section.id === wanted)) choice.value = wanted;
choice.addEventListener("change", () => { history.replaceState(null, "", "#" + choice.value); show(); });
window.addEventListener("hashchange", () => { choice.value = decodeURIComponent(location.hash.slice(1)) || choice.value; show(); });
await show();
document.body.dataset.ready = Math.round(performance.now());
