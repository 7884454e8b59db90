function pairedDifference(values, references, isLog) {
  const pairs = [...values].filter(([seed]) => references.has(seed)).map(([seed, value]) => [value, references.get(seed)]);
  const differences = pairs.map(([value, reference]) => (isLog ? Math.log(value / reference) : value - reference));
  const half = data.t[differences.length - 1] * d3.deviation(differences) / Math.sqrt(differences.length);
  const ends = [0, -half, half].map((shift) => d3.mean(differences) + shift);
  return differences.length ? (isLog ? ends.map(Math.exp) : ends) : null;
}
// Return a function of a variant: median and range of the metric, or mean and interval of the difference to state.base.
function makeSummary(metric) {
  const { direction, scale } = metrics.get(metric);
  const measured = rowsAt(state.checkpoint).filter((row) => !Number.isNaN(row[metric]));
  const bySeed = d3.rollup(measured, ([row]) => row[metric], (row) => row.variant, (row) => row.seed);
  const lost = d3.group(state.checkpoint === "" ? lostRows() : [], (row) => row.variant);
  return (variant) => {
    const values = bySeed.get(variant) ?? new Map();
    if (state.base) return pairedDifference(values, bySeed.get(state.base) ?? new Map(), scale === "log");
    const worst = direction === "lower" ? Infinity : -Infinity;
    const all = [...values.values(), ...(lost.get(variant) ?? []).map(() => worst)];
    return values.size ? [d3.median(all), d3.min(all), d3.max(all)] : null;
  };
}
const WRITERS = {
  Markdown: ([head, ...lines]) => [head, head.map(() => "---"), ...lines].map((line) => `| ${line.join(" | ")} |`).join("\n"),
  LaTeX: (lines) => `\\begin{tabular}{l${"r".repeat(lines[0].length - 1)}}\n` +
    lines.map((line) => line.join(" & ").replace(/[_%#]/g, "\\$&") + " \\\\\n").join("") + "\\end{tabular}",
  CSV: (lines) => d3.csvFormatRows(lines),
};
function copyTable(write) {
  const texts = (row) => [...row.cells].map((cell) => cell.innerText.trim().replace(/\s*\n+\s*/g, " "));
  const area = element("textarea", { value: write([...$("#table table").rows].map(texts)), readOnly: true });
  $("#table .controls").append(area), area.select(), document.execCommand("copy"); // a page that is a file has no navigator.clipboard
}
function drawTable() {
  const columns = state.columns.split(" ").filter((name) => metrics.has(name));
  const summaries = columns.map(makeSummary);
  const lines = names.filter(isVisible).map((name) => [name, ...summaries.map((summary) => summary(name))]);
  const key = 1 + columns.indexOf(state.sort.replace("-", ""));
  const value = (line) => line[key]?.[0] ?? -Infinity;
  if (key) lines.sort((a, b) => (state.sort.startsWith("-") ? d3.ascending : d3.descending)(value(a), value(b)));
  const choose = menu("column", "columns", ["", ...metrics.keys()],
    ["add or remove", ...data.metrics.map(({ name, title }) => (columns.includes(name) ? "✓ " : "") + title)]);
  const flip = (name) => (columns.includes(name) ? columns.filter((other) => other !== name) : [...columns, name]);
  choose.lastChild.onchange = ({ target }) => update({ columns: flip(target.value).join(" ") });
  const epochs = [...new Set(seedRows().map((row) => row.epoch))].filter((epoch) => epoch >= 0).map(String);
  clear("table", menu("checkpoint", "epoch", ["", ...epochs], ["last", ...epochs]),
    menu("base", "show", ["", ...names], ["values", ...names.map((name) => `difference to ${name}`)]), choose,
    ...Object.entries(WRITERS).map(([name, write]) =>
      element("button", { textContent: `Copy as ${name}`, onclick: () => copyTable(write) })));
  const head = columns.map((name) => {
    const { title, unit, direction, meaning } = metrics.get(name);
    const textContent = title + { higher: " ↑", lower: " ↓", none: "" }[direction];
    const onclick = () => update({ sort: state.sort === name ? "-" + name : name });
    return [element("button", { textContent, title: meaning, onclick }), element("small", { textContent: unit })];
  });
  const variants = element("button", { textContent: "variant", title: "group by family", onclick: () => update({ sort: "variant" }) });
  const texts = (cell, i) => cell && [format(cell[0], columns[i]),
    element("small", { textContent: cell.slice(1).map((end) => format(end, columns[i])).join("..") })];
  $("#table .chart").append(makeTable([variants, ...head], lines.map(([name, ...rest]) => [name, ...rest.map((cell, i) => texts(cell, i) ?? "")])));
}
// Draw the median over seeds as thick lines, and each seed as a thin line.
function drawLines(id, metric, axis, xType, ...controls) {
  const { title, unit, scale } = metrics.get(metric);
  const points = curveRows().filter((row) => [metric, axis].every((name) => Number.isFinite(row[name])) && (xType !== "log" || row[axis] > 0));
  clear(id, ...controls);
  if (!points.length) return say(id, `No variant of the selection has the metric ${title}.`);
  const middle = (group) => [axis, metric].map((name) => d3.median(group, (row) => row[name]));
  const medians = d3.flatRollup(points, middle, (row) => row.variant, (row) => row.epoch);
  const type = (state.scale || scale) === "log" && points.some((row) => row[metric] <= 0) ? "symlog" : state.scale || scale;
  const published = data.published.filter((line) => line.metric === metric && isVisible(line.variant));
  const heights = [...medians.map((row) => row[2][1]), ...published.map((line) => line.value)];
  const [left, right, bottom, top] = state.zoom && id === "curves" ? state.zoom.split(" ").map(Number) : [];
  const stroke = (row) => colour(row.variant ?? row[0]);
  const text = (row) => `${row.variant}, ${isQuantile(row) ? "" : "seed "}${row.seed}, epoch ${row.epoch}\n` +
    `${AXES[axis]}: ${format(row[axis])}\n${title}: ${format(row[metric], metric)} ${unit}`;
  return draw(id, `${title} by ${AXES[axis]}`, {
    x: { label: AXES[axis], type: xType, ...(xType === "log" && { tickFormat }), ...(right && { domain: [left, right] }) },
    y: { label: `${title}, ${unit}`, type, grid: true, domain: right ? [bottom, top] : d3.extent(heights), nice: !right },
    marks: [Plot.ruleY(published, { y: "value", stroke, strokeDasharray: "5" }),
      Plot.text(published, { y: "value", text: "label", frameAnchor: "left", dx: 8, dy: -7 }),
      Plot.line(points, { x: axis, y: metric, z: (row) => row.variant + row.seed, stroke, strokeOpacity: 0.35, clip: true }),
      Plot.line(medians, { x: (row) => row[2][0], y: (row) => row[2][1], z: "0", stroke, strokeWidth: 2.5, marker: "dot", clip: true }),
      Plot.tip(points, Plot.pointer({ x: axis, y: metric, title: text }))],
  });
}
function drawCurves() {
  const scales = menu("scale", "scale", ["", "linear", "log"], ["of the metric", "linear", "log"]);
  const axes = menu("axis", "axis", Object.keys(AXES), Object.values(AXES));
  const svg = drawLines("curves", state.metric, state.axis, "linear", metricMenu(), axes, scales);
  if (!svg) return;
  const [x, y] = [svg.scale("x"), svg.scale("y")];
  const zoom = ([[left, top], [right, bottom]]) => update({ zoom: [left, right].map(x.invert).concat([bottom, top].map(y.invert)).join(" ") });
  const brush = d3.brush().on("end", ({ selection }) => selection && zoom(selection));
  d3.select(svg).append("g").call(brush).on("dblclick", () => update({ zoom: "" }));
}
const drawCost = () => drawLines("cost", data.first_metric, state.axis === "passes" ? "passes" : "train_seconds", "log",
  menu("axis", "cost", ["train_seconds", "passes"], [AXES.train_seconds, AXES.passes]));
// Draw one dot for each seed; a seed that was lost is × at the worse edge.
function drawDots(id, metric, list, ...controls) {
  clear(id, ...controls);
  const { title, unit, scale, direction } = metrics.get(metric) ?? { title: metric };
  const points = list.filter((row) => Number.isFinite(row[metric]) && (scale !== "log" || row[metric] > 0));
  if (!points.length) return say(id, `No variant of the selection has the metric ${title}.`);
  const worst = (direction === "lower" ? d3.max : d3.min)(points, (row) => row[metric]);
  const x = (row) => (row.status === "ok" ? row[metric] : worst), stroke = (row) => colour(row.variant);
  const text = (row) => `${row.variant}, seed ${row.seed}: ${row.status === "ok" ? format(row[metric], metric) : row.status}\n` +
    `python -m benchmarks run ${row.variant} --seeds ${row.seed},${data.options}`;
  draw(id, `${title} of each seed`, { marginLeft: 140, x: { label: `${title}, ${unit}`, type: scale, grid: true },
    y: { label: null, domain: names.filter(isVisible) },
    marks: [Plot.dot(points, { x, y: "variant", stroke, fill: stroke, fillOpacity: 0.3, r: 5 }),
      Plot.text(lostRows(), { x, y: "variant", text: () => "×", fontSize: 18 }),
      Plot.tip([...points, ...lostRows()], Plot.pointer({ x, y: "variant", title: text }))] });
}
function drawNoise() {
  const lines = data.laboratory.filter((line) => isVisible(line.variant));
  const weights = menu("weights", "weights", ["", "own"], ["equal", "each variant's own, at the last epoch"]);
  if (state.weights || !lines.length) return drawDots("noise", "gradient_variance", rowsAt(state.weights ? "" : "0"), weights);
  clear("noise", weights);
  const stroke = (line) => colour(line.variant), title = (line) => `${line.variant}, ${line.stage}: ${line.text}`;
  draw("noise", "draws for one by stage of training", { x: { type: "point", domain: data.stages, label: null },
    y: { type: "log", label: "draws for one", grid: true, tickFormat },
    marks: [Plot.line(lines, { x: "stage", y: "value", z: "variant", stroke, strokeWidth: 2 }),
      Plot.ruleX(lines, { x: "stage", y1: "low", y2: "high", stroke }),
      Plot.tip(lines, Plot.pointer({ x: "stage", y: "value", title }))] });
}
function drawPictures() {
  const seeds = [...new Set(data.pictured.flatMap(([, list]) => list.map(String)))];
  const sides = ["left", "right"].map((key) => menu(key, key, data.pictured.map(([variant]) => variant)));
  if (seeds.length) $("#pictures .controls").replaceChildren(...sides, menu("seed", "seed", seeds));
  const blocks = [...document.querySelectorAll("[data-picture]")];
  const isChosen = ({ dataset }) => [state.left, state.right].includes(dataset.picture) && dataset.seed === state.seed;
  const limit = d3.max(blocks.filter(isChosen), (block) => Number(block.dataset.limit)); // equal scale on both sides
  for (const block of blocks) {
    Object.assign(block, { hidden: !isChosen(block), style: `order: ${block.dataset.picture === state.left ? 0 : 1}` });
    if (limit) $("svg", block).setAttribute("viewBox", [-limit, -limit, 2 * limit, 2 * limit].join(" "));
  }
}
const drawVerdicts = () => $("#verdicts .controls").replaceChildren(menu("verdict", "verdict", ["", ...data.verdicts], ["all", ...data.verdicts]));
start({ table: drawTable, curves: drawCurves, noise: drawNoise, pictures: drawPictures, cost: drawCost,
  seeds: () => drawDots("seeds", state.metric, rowsAt(""), metricMenu()), verdicts: drawVerdicts, lesson: drawLesson });
