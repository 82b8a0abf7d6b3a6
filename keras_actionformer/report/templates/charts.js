// Charts of lines and of bars from what `charts.py` says of them; each has its numbers as a table.

const LETTER = 6.2; // pixels that one takes on average
const WIDE_LETTER = 7.8; // of capitals, somewhat larger
const DASHES = [null, "6 3", "2 2", "8 2 2 2"];
const MARGIN = { top: 10, right: 12, bottom: 54, left: 62 };

function drawChart(figure, spec) {
  const place = figure.querySelector(".drawing");
  const width = Math.max(place.clientWidth, 260);
  const height = spec.kind === "intervals" ? 24 * spec.categories.length + 56 : 260;
  const svg = draw("svg", {
    width,
    height,
    role: "img",
    "aria-label": `${spec.title}. Its numbers are in the table below it.`,
  });
  if (spec.kind === "lines" && !spec.series.some((series) => series.x.length)) {
    place.replaceChildren(make("p", { class: "counts" }, "There is nothing to draw."));
    return;
  }
  const kinds = { lines: drawLines, bars: drawBars, intervals: drawIntervals };
  kinds[spec.kind](svg, spec, width, height);
  place.replaceChildren(svg);
}

function chartTable(spec) {
  if (spec.kind === "intervals") {
    const rows = spec.categories.map((category, place) => [category, ...spec.values[place].map(number)]);
    return makeTable(`${spec.title} (${spec.x_label})`, ["", "difference", "from", "to"], rows);
  }
  if (spec.kind === "bars") {
    const head = ["", ...spec.series.map((series) => series.name)];
    const rows = spec.categories.map((category, place) => [
      category,
      ...spec.series.map((series) => number(series.values[place])),
    ]);
    return makeTable(`${spec.title} (${spec.y})`, head, rows);
  }
  const rows = spec.series.flatMap((series) =>
    series.x.map((x, place) => [series.name, number(x), number(series.y[place])]),
  );
  return makeTable(spec.title, ["", spec.x_label, spec.y], rows);
}

function drawAxes(svg, spec, width, height, x, y, xTicks, yTicks) {
  for (const value of yTicks) {
    const at = y(value);
    svg.append(
      draw("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: at, y2: at }),
      draw("text", { class: "tick", x: MARGIN.left - 6, y: at + 4, "text-anchor": "end" }, number(value)),
    );
  }
  for (const [value, text] of xTicks) {
    text.split("\n").forEach((line, place) => {
      const under = { y: height - MARGIN.bottom + 15 + 12 * place, "text-anchor": "middle" };
      svg.append(draw("text", { class: "tick", x: x(value), ...under }, line));
    });
  }
  const middle = (MARGIN.top + height - MARGIN.bottom) / 2;
  const lines = Math.max(1, ...xTicks.map((tick) => tick[1].split("\n").length));
  const under = height - MARGIN.bottom + 22 + 12 * lines;
  svg.append(
    draw("text", { class: "axis", x: (MARGIN.left + width - MARGIN.right) / 2, y: under, "text-anchor": "middle" }, spec.x_label),
    draw("text", { class: "axis", transform: `translate(12 ${middle}) rotate(-90)`, "text-anchor": "middle" }, spec.y),
  );
}

function scale(low, high, from, to) {
  return (value) => from + ((value - low) / (high - low || 1)) * (to - from);
}

function drawLines(svg, spec, width, height) {
  const xs = spec.series.flatMap((series) => series.x);
  const ys = spec.series.flatMap((series) => series.y).filter((value) => value !== null);
  const [xLow, xHigh] = spec.x_range || [Math.min(...xs), Math.max(...xs)];
  const [yLow, yHigh] = spec.y_range || [Math.min(0, ...ys), Math.max(...ys)];
  const x = scale(xLow, xHigh, MARGIN.left, width - MARGIN.right);
  const y = scale(yLow, yHigh, height - MARGIN.bottom, MARGIN.top);
  const xTicks = ticks(xLow, xHigh, width / 90).map((value) => [value, number(value)]);
  drawAxes(svg, spec, width, height, x, y, xTicks, ticks(yLow, yHigh, 5));
  if (spec.diagonal) {
    svg.append(draw("line", { class: "grid diagonal", x1: x(xLow), y1: y(yLow), x2: x(xHigh), y2: y(yHigh) }));
  }
  for (const series of spec.series) {
    const points = series.x
      .map((value, place) => [value, series.y[place]])
      .filter((point) => point[1] !== null)
      .map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`);
    const line = draw("polyline", {
      class: `line k${series.colour} ${series.thin ? "thin" : ""}`,
      points: points.join(" "),
      "stroke-dasharray": DASHES[series.dash || 0],
    });
    line.append(draw("title", {}, series.name));
    svg.append(line);
    if (points.length <= 12 && !series.thin) {
      for (const point of points) {
        const [cx, cy] = point.split(",");
        svg.append(draw("circle", { class: `dot k${series.colour}`, cx, cy, r: 3 }));
      }
    }
  }
}

function drawBars(svg, spec, width, height) {
  const sums = spec.categories.map((_, place) =>
    spec.stacked
      ? spec.series.reduce((sum, series) => sum + (series.values[place] || 0), 0)
      : Math.max(...spec.series.map((series) => series.values[place] || 0)),
  );
  const [yLow, yHigh] = spec.y_range || [0, Math.max(...sums, 0) || 1];
  const room = (width - MARGIN.left - MARGIN.right) / spec.categories.length;
  const x = (place) => MARGIN.left + (place + 0.5) * room;
  const y = scale(yLow, yHigh, height - MARGIN.bottom, MARGIN.top);
  const labels = spec.categories.map((text) => (text.length * LETTER > room ? text.replace(" ", "\n") : text));
  const longest = Math.max(...labels.flatMap((text) => text.split("\n").map((line) => line.length)));
  const every = Math.ceil((longest * LETTER) / room);
  const xTicks = labels.map((text, place) => [place, place % every ? "" : text]);
  drawAxes(svg, spec, width, height, x, y, xTicks, ticks(yLow, yHigh, 5));
  const breadth = Math.min(room * 0.8, 90);
  spec.categories.forEach((category, place) => {
    let below = yLow;
    spec.series.forEach((series, nth) => {
      const value = series.values[place];
      if (value === null) return;
      const wide = spec.stacked ? breadth : breadth / spec.series.length;
      const left = x(place) - breadth / 2 + (spec.stacked ? 0 : nth * wide);
      const bottom = spec.stacked ? below : yLow;
      const top = y(bottom + value);
      const bar = draw("rect", {
        class: `block k${series.colour}`,
        x: left,
        y: top,
        width: Math.max(wide - 1, 1),
        height: Math.max(y(bottom) - top, 0),
      });
      bar.append(draw("title", {}, `${series.name || spec.y}, ${category}: ${number(value)}`));
      svg.append(bar);
      below += value;
    });
  });
  if (spec.line) {
    const at = y(spec.line.value);
    const line = draw("line", { class: "mark", x1: MARGIN.left, x2: width - MARGIN.right, y1: at, y2: at });
    line.append(draw("title", {}, `${spec.line.name}: ${number(spec.line.value)}`));
    svg.append(line);
  }
}

// A row each: its value as a dot, its interval as a line; what does not reach 0 stands out.
function drawIntervals(svg, spec, width, height) {
  const left = Math.min(width * 0.4, 190);
  const all = spec.values.flat().filter((value) => value !== null);
  const [low, high] = [Math.min(0, ...all), Math.max(0, ...all)];
  const x = scale(low, high, left + 8, width - 10);
  const bottom = height - 46;
  for (const value of ticks(low, high, width / 110)) {
    svg.append(
      draw("line", { class: value === 0 ? "zero" : "grid", x1: x(value), x2: x(value), y1: 4, y2: bottom }),
      draw("text", { class: "tick", x: x(value), y: bottom + 16, "text-anchor": "middle" }, number(value)),
    );
  }
  svg.append(draw("text", { class: "axis", x: (left + width) / 2, y: height - 8, "text-anchor": "middle" }, spec.x_label));
  spec.categories.forEach((category, place) => {
    const [value, from, to] = spec.values[place];
    const y = 24 * place + 16;
    const most = Math.floor(left / WIDE_LETTER);
    const short = category.length > most ? `${category.slice(0, most - 1)}…` : category;
    const kind = value !== null && (from > 0 || to < 0) ? `k${value > 0 ? 0 : 1} real` : "chance";
    const name = draw("text", { class: "tick name", x: left, y: y + 4, "text-anchor": "end" }, short);
    name.append(draw("title", {}, category));
    svg.append(name);
    if (value === null) return;
    svg.append(
      draw("line", { class: `whisker ${kind}`, x1: x(from), x2: x(to), y1: y, y2: y }),
      draw("circle", { class: `spot ${kind}`, cx: x(value), cy: y, r: 4.5 }),
    );
  });
}
