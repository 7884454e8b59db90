"use strict"; // One state, kept in the URL's fragment. Each change of the fragment draws all panels again.
const $ = (selector, root = document) => root.querySelector(selector);
const data = JSON.parse($("#data").textContent);
const names = Object.values(data.families).flat(); // so that a table that is not sorted is grouped
const metrics = new Map(data.metrics.map((metric) => [metric.name, metric]));
const dark = matchMedia("(prefers-color-scheme: dark)");
const AXES = { epoch: "epoch", step: "optimizer steps", train_seconds: "seconds of training", passes: "decoder passes" };
const TEXTS = new Set(["variant", "dataset", "seed", "status"]);
const tickFormat = (value) => (value >= 1e4 ? d3.format("~s")(value) : String(Number(value.toPrecision(3))));
const defaults = { show: data.story.join(" "), dataset: data.datasets[0], metric: data.first_metric, axis: "epoch",
  scale: "", zoom: "", checkpoint: "", columns: data.table_metrics.join(" "), sort: data.first_metric, base: "",
  left: data.pictured[0]?.[0] ?? "", right: data.pictured[1]?.[0] ?? "", seed: String(data.pictured[0]?.[1][0]), weights: "", verdict: "",
  f: "square", mu: "0", sigma: "1", k: "4", n: "10000" };
let rows = [], state = defaults;

const update = (changes) => location.replace("#" + new URLSearchParams(
  Object.entries({ ...state, ...changes }).filter(([key, value]) => value !== defaults[key])));
function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  return node.append(...children) ?? node; // append returns nothing
}
async function readRows() {
  const bytes = [Uint8Array.from(atob(data.csv), (character) => character.charCodeAt(0))];
  data.text = await new Response(new Blob(bytes).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  const [header, ...lines] = d3.csvParseRows(data.text);
  rows = lines.map((line) => {
    const value = (name, i) => (TEXTS.has(name) ? line[i] : line[i] === "" ? NaN : Number(line[i]));
    const row = Object.fromEntries(header.map((name, i) => [name, value(name, i)]));
    return { ...row, passes: row.step * row.batch_size * row.draws };
  });
}
// Selections of rows. Of a run with many cells, curves have quantiles in place of seeds.
const isVisible = (name) => !data.variants[name] || state.show.split(" ").includes(name);
const isQuantile = (row) => data.quantiles.includes(row.seed);
const visibleRows = () => rows.filter((row) => row.dataset === state.dataset && isVisible(row.variant));
const seedRows = () => visibleRows().filter((row) => !isQuantile(row));
const curveRows = () => (data.quantiles.length ? visibleRows().filter(isQuantile) : visibleRows());
const lostRows = () => d3.rollups(seedRows().filter((row) => row.status !== "ok"),
  (group) => group.at(-1), (row) => row.variant + " " + row.seed).map(([, row]) => row);
function rowsAt(epoch) {
  const chosen = epoch === "" ? d3.max(seedRows(), (row) => row.epoch) : Number(epoch);
  return seedRows().filter((row) => row.epoch === chosen && row.status === "ok");
}
function colour(name) {
  const { l, a, b } = d3.lab(data.variants[name]?.color ?? data.colours[name]);
  return d3.lab(dark.matches ? Math.max(l, 70) : l, a, b).formatHex();
}
function format(value, metric = "") {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "" : "diverged";
  if (Math.abs(value) >= 1e6 || (value !== 0 && Math.abs(value) < 1e-3)) return value.toExponential(1);
  return value.toLocaleString("en", { maximumFractionDigits: metrics.get(metric)?.decimals ?? 2 });
}
function menu(key, label, values, titles = values) {
  const options = values.map((value, i) => element("option", { value, textContent: titles[i], selected: value === state[key] }));
  const onchange = (event) => update({ [key]: event.target.value, zoom: "" });
  return element("label", {}, label + " ", element("select", { onchange }, ...options));
}
const metricMenu = () => menu("metric", "metric", [...metrics.keys()], data.metrics.map((metric) => metric.title));
function clear(id, ...controls) {
  $(`#${id} .controls`).replaceChildren(...controls);
  $(`#${id} .chart`).replaceChildren();
}
const say = (id, text) => $(`#${id} .chart`).append(element("p", { textContent: text }));
function makeTable(head, lines) {
  const row = (tag) => (cells) => element("tr", {}, ...cells.map((cell) => element(tag, {}, ...[cell].flat())));
  return element("table", {}, element("thead", {}, row("th")(head)), element("tbody", {}, ...lines.map(row("td"))));
}
const save = (download, content, type) => element("a", { download, href: URL.createObjectURL(new Blob([content], { type })) }).click();
function addCaption(svg, text) {
  const { width, height } = svg.viewBox.baseVal;
  const lines = [...names.filter(isVisible), ...text.match(new RegExp(`\\S.{0,${Math.floor(width / 8)}}(?=\\s|$)`, "g"))];
  const copy = d3.select(svg.cloneNode(true)).attr("height", height + 16 * lines.length).attr("viewBox", [0, 0, width, height + 16 * lines.length]);
  copy.selectAll(".caption").data(lines).join("text").attr("x", 8).attr("y", (_, i) => height + 16 * i + 8).attr("text-anchor", "start")
    .attr("fill", (line) => (data.variants[line] ? colour(line) : "currentColor")).text(String);
  return new XMLSerializer().serializeToString(copy.node());
}
function draw(id, label, options) {
  const box = $(`#${id} .chart`);
  const common = { width: Math.max(300, box.clientWidth), marginLeft: 60, marginRight: 20, style: "background: none; font-size: 12px" };
  const svg = Plot.plot({ ...common, ariaLabel: label, ...options });
  const onclick = () => save(`${data.name}-${id}.svg`, addCaption(svg, `${data.name}: ${label}. ${data.about}`), "image/svg+xml");
  box.append(svg, element("p", { className: "controls" }, element("button", { textContent: "Save SVG", onclick })));
  return svg;
}
function drawSelection() {
  const buttons = Object.entries({ story: data.story, all: names, ...data.families }).map(([textContent, members]) =>
    element("button", { textContent, onclick: () => update({ show: members.join(" ") }) }));
  const isolate = (name) => update({ show: state.show === name ? names.join(" ") : name });
  const flip = (name) => update({ show: names.filter((other) => (other === name) !== isVisible(other)).join(" ") });
  const chips = names.map((name) => {
    const swatch = element("span", { className: "swatch", style: `background: ${colour(name)}` });
    const title = `${data.variants[name].how}. Click: hide or show. Double click, or the key i: show this variant only.`;
    const chip = element("button", { title, ariaPressed: isVisible(name) }, swatch, name);
    chip.dataset.name = name;
    let timer; // the first click of a double click must not hide
    chip.onclick = () => { clearTimeout(timer); timer = setTimeout(() => flip(name), 250); };
    chip.ondblclick = () => { clearTimeout(timer); isolate(name); };
    chip.onkeydown = (event) => event.key === "i" && isolate(name);
    return chip;
  });
  $("#selection").replaceChildren(menu("dataset", "data set", data.datasets), ...buttons, element("div", {}, ...chips));
  for (const node of document.querySelectorAll("[data-variant], [data-verdict]"))
    node.hidden = !isVisible(node.dataset.variant) || ![node.dataset.verdict ?? state.verdict, ""].includes(state.verdict);
}
async function start(panels) {
  await readRows();
  const drawAll = () => {
    const focused = document.activeElement?.dataset.name;
    state = { ...defaults, ...Object.fromEntries(new URLSearchParams(location.hash.slice(1))) };
    for (const [id, panel] of Object.entries({ selection: drawSelection, ...panels })) if ($("#" + id)) panel();
    $(`[data-name="${CSS.escape(focused ?? "")}"]`)?.focus();
  };
  const textContent = data.quantiles.length ? "Save the rows of this page" : "Save results.csv";
  if (data.metrics.length) $("#download").append(element("button", { textContent, onclick: () => save("results.csv", data.text, "text/csv") }));
  dark.onchange = onresize = onhashchange = drawAll;
  drawAll();
}
