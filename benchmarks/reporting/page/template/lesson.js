// The gradient in μ of E[f(z)] with z = μ + σε: f, its slope, and the exact variances of one draw of both estimators.
const cosMean = ({ mu, sigma, k }) => (k * Math.sin(k * mu)) ** 2 * Math.exp(-((k * sigma) ** 2));
const wave = ({ mu, sigma, k }) => Math.cos(2 * k * mu) * Math.exp(-2 * (k * sigma) ** 2);
const FUNCTIONS = {
  square: { title: "(z − 2)²", f: (z) => (z - 2) ** 2, slope: (z) => 2 * (z - 2), pathwise: ({ sigma }) => 4 * sigma ** 2,
    score: ({ mu, sigma }) => (mu - 2) ** 4 / sigma ** 2 + 14 * (mu - 2) ** 2 + 15 * sigma ** 2 },
  cosine: { title: "cos(kz)", f: (z, k) => Math.cos(k * z), slope: (z, k) => -k * Math.sin(k * z),
    pathwise: (s) => s.k ** 2 * (1 - wave(s)) / 2 - cosMean(s),
    score: (s) => (1 + wave(s) * (1 - 4 * (s.k * s.sigma) ** 2)) / 2 / s.sigma ** 2 - cosMean(s) },
};
function drawLesson() {
  const [mu, sigma, k] = ["mu", "sigma", "k"].map((key) => Number(state[key]));
  const range = Object.keys(data.colours).map(colour);
  const { f, slope, pathwise, score } = FUNCTIONS[state.f] ?? FUNCTIONS.square;
  const slider = (key, label, min, max) => element("label", {}, `${label} = ${state[key]} `, element("input",
    { type: "range", min, max, step: 0.25, value: state[key], onchange: (event) => update({ [key]: event.target.value }) }));
  clear("lesson", menu("f", "f(z)", Object.keys(FUNCTIONS), Object.values(FUNCTIONS).map(({ title }) => title)), slider("mu", "μ", -3, 3),
    slider("sigma", "σ", 0.25, 2), slider("k", "k", 0.25, 16), menu("n", "draws N", ["1000", "10000", "100000"]));
  const noise = Float64Array.from({ length: Number(state.n) }, d3.randomNormal.source(d3.randomLcg(1))());
  const estimators = [
    { name: "reparameterization", exact: pathwise, values: noise.map((value) => slope(mu + sigma * value, k)) },
    { name: "REINFORCE", exact: score, values: noise.map((value) => f(mu + sigma * value, k) * value / sigma) },
  ];
  $("#lesson .chart").append(makeTable(["estimator", "mean", "variance of a draw, measured", "variance, exact"],
    estimators.map(({ name, exact, values }, i) => [element("b", { textContent: name, style: `color: ${range[i]}` }),
      d3.mean(values).toFixed(3), d3.variance(values).toPrecision(4), exact({ mu, sigma, k }).toPrecision(4)])));
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
  const curve = estimators.flatMap(({ name, exact }) => frequencies.map((k) => ({ name, k, variance: exact({ mu, sigma, k }) })));
  draw("lesson", "exact variance of one draw by k", { height: 220, color, x: { type: "log", label: "k", tickFormat },
    y: { type: "log", label: "variance", tickFormat }, marks: [lines(curve, "k", "variance"), Plot.ruleX([k], { strokeDasharray: "3" })] });
}
