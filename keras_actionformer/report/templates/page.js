// The page: reads its data, heeds its controls, and draws what is on screen.

const FIRST_SHOWN = 12;
const AHEAD = "400px"; // drawn before it comes on screen

function start() {
  const data = JSON.parse(document.getElementById("data").textContent);
  startCharts(data.charts);
  if (data.timelines) startTimelines(data.timelines);
}

function startCharts(specs) {
  const figures = [...document.querySelectorAll("figure[data-chart]")];
  const specOf = (figure) => specs[Number(figure.dataset.chart)];
  const isDrawn = new Set();
  const drawOnce = (figure) => {
    isDrawn.add(figure);
    drawChart(figure, specOf(figure));
  };
  const watcher = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting && !isDrawn.has(entry.target)).forEach((entry) => drawOnce(entry.target)),
    { rootMargin: AHEAD },
  );
  for (const figure of figures) {
    figure.append(makeDetails("Numbers", () => chartTable(specOf(figure))));
    watcher.observe(figure);
  }
  window.addEventListener("resize", () => isDrawn.forEach(drawOnce));
  window.addEventListener("beforeprint", () => figures.forEach(drawOnce));
}

function startTimelines(data) {
  const one = (id) => document.getElementById(id);
  const videos = readVideos(data);
  const digits = Math.max(2, Math.min(4, Math.round(Math.log10(data.score_steps)) - 1));
  const state = {
    classes: data.classes,
    colours: data.colours,
    range: data.score_range,
    tiou: data.tiou,
    least: data.own,
    score: (steps) => (steps / data.score_steps).toFixed(digits),
    threshold: (steps) => number(steps / data.score_steps),
  };
  let counts = [];
  let shown = FIRST_SHOWN;
  const timelines = new Map();
  const list = one("timelines");
  const watcher = new IntersectionObserver(
    (entries) => entries.forEach((entry) => timelines.get(entry.target).show(entry.isIntersecting)),
    { rootMargin: AHEAD },
  );

  function timelineOf(video) {
    if (!video.timeline) {
      video.timeline = new Timeline(video, state);
      timelines.set(video.timeline.node, video.timeline);
    }
    return video.timeline;
  }

  // After a change of the threshold: numbers and bars, but not yet the order.
  function count() {
    const { least, tiou } = state;
    counts = videos.map((video) => countVideo(video, tiou, least));
    const all = addCounts(counts);
    const { precision, recall, f1 } = shares(all);
    one("recall").textContent = percent(recall);
    one("found").textContent = `${all.right} of ${all.truth}`;
    one("wrong-share").textContent = percent(1 - precision);
    one("wrong").textContent = `${wrong(all)} of ${all.reported}`;
    one("precision").textContent = percent(precision, 1);
    one("recall-exact").textContent = percent(recall, 1);
    one("f1").textContent = percent(f1, 1);
    one("bars").textContent = String(all.reported);
  }

  function redraw() {
    for (const node of list.children) timelines.get(node).update();
  }

  function arrange() {
    const text = one("search").value;
    const fitting = inOrder(videos, counts, one("order").value).filter((row) => matches(row.video, text, state.classes, state.least));
    const nodes = fitting.slice(0, shown).map((row) => timelineOf(row.video).node);
    watcher.disconnect();
    list.replaceChildren(...nodes);
    redraw();
    nodes.forEach((node) => watcher.observe(node));
    const left = fitting.length - nodes.length;
    one("shown").textContent = fitting.length
      ? `${nodes.length} of ${fitting.length} videos${text.trim() ? " that match" : ""}`
      : "No video or class has this in its name.";
    one("more").hidden = left <= 0;
    one("all").hidden = left <= 0;
    one("more").textContent = `Show ${Math.min(left, FIRST_SHOWN)} more`;
    one("all").textContent = `Show all ${fitting.length}`;
  }

  function setThresholds() {
    const common = Number(one("threshold").value);
    const own = one("own").checked;
    state.least = own ? data.own : data.classes.map(() => common);
    const [low, high] = [Math.min(...state.least), Math.max(...state.least)];
    const text = low === high ? state.threshold(low) : `${state.threshold(low)} to ${state.threshold(high)}, by class`;
    one("threshold-value").textContent = text;
    one("threshold").setAttribute("aria-valuetext", text);
    count();
    redraw();
  }

  const step = Math.max(Math.round(data.score_steps / 100), 1);
  const slider = one("threshold");
  slider.min = Math.floor(data.score_range[0] / step) * step;
  slider.max = Math.ceil(data.score_range[1] / step) * step;
  slider.step = step;
  slider.value = data.common;
  slider.addEventListener("input", () => {
    one("own").checked = false;
    setThresholds();
  });
  slider.addEventListener("change", arrange);
  one("own").addEventListener("change", () => {
    setThresholds();
    arrange();
  });
  data.tious.forEach((value, place) => one("tiou").append(make("option", { value: place, selected: place === data.tiou }, value.toFixed(2))));
  one("tiou").addEventListener("change", () => {
    state.tiou = Number(one("tiou").value);
    count();
    arrange();
  });
  one("order").addEventListener("change", arrange);
  one("search").addEventListener("input", () => {
    shown = FIRST_SHOWN;
    arrange();
  });
  one("more").addEventListener("click", () => {
    shown += FIRST_SHOWN;
    arrange();
  });
  one("all").addEventListener("click", () => {
    shown = videos.length;
    arrange();
  });
  window.addEventListener("resize", redraw);
  window.addEventListener("beforeprint", () => [...list.children].forEach((node) => timelines.get(node).show(true)));
  setThresholds();
  arrange();
}

start();
