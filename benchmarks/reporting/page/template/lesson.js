// The gradient in μ of E[f(z)] with z = μ + σε: f, its slope, and the exact variances of one draw of both estimators.
const square = (value) => value ** 2;
const cosMean = ({ mu, sigma, k }) => square(k * Math.sin(k * mu) * Math.exp(-square(k * sigma) / 2));
const wave = ({ mu, sigma, k }) => Math.cos(2 * k * mu) * Math.exp(-2 * square(k * sigma));
const FUNCTIONS = {
  square: { title: "(z − 2)²", f: (z) => square(z - 2), slope: (z) => 2 * (z - 2), pathwise: ({ sigma }) => 4 * square(sigma),
    score: ({ mu, sigma }) => square(square(mu - 2) / sigma) + 14 * square(mu - 2) + 15 * square(sigma) },
  cosine: { title: "cos(kz)", f: (z, k) => Math.cos(k * z), slope: (z, k) => -k * Math.sin(k * z),
    pathwise: (s) => square(s.k) * (1 - wave(s)) / 2 - cosMean(s),
    score: (s) => (1 + wave(s) * (1 - 4 * square(s.k * s.sigma))) / 2 / square(s.sigma) - cosMean(s) },
};
function drawLesson() {
  const settings = { mu: Number(state.mu), sigma: Number(state.sigma), k: Number(state.k) };
  const range = Object.keys(data.colours).map(colour);
  const { f, slope, pathwise, score } = FUNCTIONS[state.f] ?? FUNCTIONS.square;
  const slider = (key, label, min, max) => element("label", {}, `${label} = ${state[key]} `, element("input",
    { type: "range", min, max, step: 0.25, value: state[key], onchange: (event) => update({ [key]: event.target.value }) }));
  clear("lesson", menu("f", "f(z)", Object.keys(FUNCTIONS), Object.values(FUNCTIONS).map(({ title }) => title)), slider("mu", "μ", -3, 3),
    slider("sigma", "σ", 0.25, 2), slider("k", "k", 0.25, 16), menu("n", "draws N", ["1000", "10000", "100000"]));
  const noise = Float64Array.from({ length: Number(state.n) }, d3.randomNormal.source(d3.randomLcg(1))());
  const z = noise.map((value) => settings.mu + settings.sigma * value);
  const estimators = [
    { name: "reparameterization", exact: pathwise, values: z.map((value) => slope(value, settings.k)) },
    { name: "REINFORCE", exact: score, values: z.map((value, i) => f(value, settings.k) * noise[i] / settings.sigma) },
  ];
  $("#lesson .chart").append(makeTable(["estimator", "mean", "variance of a draw, measured", "variance, exact"],
    estimators.map(({ name, exact, values }, i) => [element("b", { textContent: name, style: `color: ${range[i]}` }),
      d3.mean(values).toFixed(3), d3.variance(values).toPrecision(4), exact(settings).toPrecision(4)])));
  const color = { domain: estimators.map(({ name }) => name), range };
  const lines = (list, x, y) => Plot.line(list, { x, y, z: "name", stroke: "name", strokeWidth: 2 });
  const domain = d3.extent(estimators.flatMap(({ values }) => [d3.quantile(values, 0.005), d3.quantile(values, 0.995)]));
  const single = estimators.flatMap(({ name, values }) => Array.from(values.slice(0, 10000), (value) => ({ name, value })));
  const bins = { x: { value: "value", thresholds: 60, domain }, fy: "name", fill: "name" };
  draw("lesson", "gradients of single draws", { height: 220, color, x: { label: "gradient of one draw", domain }, fy: { axis: null },
    marks: [Plot.rectY(single, Plot.binX({ y: "count" }, bins))] });
  const counts = d3.range(0, Math.log10(noise.length) + 0.01, 0.02).map((power) => Math.round(10 ** power));
  const average = ({ name, values }, sums = d3.cumsum(values)) => counts.map((n) => ({ name, n, mean: sums[n - 1] / n }));
  draw("lesson", "mean of the first draws", { height: 220, color, x: { type: "log", label: "draws", tickFormat },
    y: { label: "mean", grid: true }, marks: [lines(estimators.flatMap((entry) => average(entry)), "n", "mean")] });
  if (state.f !== "cosine") return;
  const frequencies = d3.range(-2, 4.01, 0.05).map((power) => 2 ** power);
  const curve = estimators.flatMap(({ name, exact }) => frequencies.map((k) => ({ name, k, variance: exact({ ...settings, k }) })));
  draw("lesson", "exact variance of one draw by k", { height: 220, color, x: { type: "log", label: "k", tickFormat },
    y: { type: "log", label: "variance", tickFormat }, marks: [lines(curve, "k", "variance"), Plot.ruleX([settings.k], { strokeDasharray: "3" })] });
}
