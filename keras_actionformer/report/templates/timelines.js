// The timeline of a video: a lane a class, with what happened above what was detected.

const ROW = { top: 5, truth: 8, gap: 3, found: 11, lane: 34, axis: 22 };
const TIME_STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600]; // seconds
const LEAST_BAR = 3; // pixels
const MOST_ZOOM = 256;
const BEFORE_SEC = 0.5; // of a moment, played first

function clock(ms, digits = 2) {
  const whole = Math.floor(ms / 60000);
  const seconds = (ms - 60000 * whole) / 1000;
  const text = seconds.toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  const hours = Math.floor(whole / 60);
  return hours ? `${hours}:${String(whole % 60).padStart(2, "0")}:${text}` : `${whole}:${text}`;
}

const between = (bar) => `${clock(bar.start)} to ${clock(bar.end)} (${((bar.end - bar.start) / 1000).toFixed(2)} s)`;

function overlap(a, b) {
  const shared = Math.max(0, Math.min(a.end, b.end) - Math.max(a.start, b.start));
  const union = a.end - a.start + b.end - b.start - shared;
  return union > 0 ? shared / union : 0;
}

class Timeline {
  // `state` is the page's: classes, colours, score steps, chosen tIoU and thresholds.
  constructor(video, state) {
    this.video = video;
    this.state = state;
    this.zoom = 1;
    this.isOnScreen = false;
    this.heading = make("h3", { id: `video-${video.index}` }, video.id);
    this.counts = make("span", { class: "counts" });
    this.names = make("div", { class: "names", "aria-hidden": "true" });
    this.svg = draw("svg", { role: "group", "aria-roledescription": "timeline" });
    this.scroller = make("div", { class: "scroller" }, this.svg);
    this.told = make("p", { class: "told", "aria-live": "polite" });
    this.table = make("div", { class: "wide", id: `table-${video.index}`, hidden: true });
    this.opener = make(
      "button",
      { type: "button", "aria-expanded": false, "aria-controls": this.table.id, "aria-label": `Table: ${video.id}`, onclick: () => this.toggleTable() },
      "Table",
    );
    const tool = (text, label, factor) =>
      make("button", { type: "button", "aria-label": `${label}: ${video.id}`, title: label, onclick: () => this.zoomBy(factor) }, text);
    this.node = make(
      "article",
      { class: "video", "aria-labelledby": `video-${video.index}` },
      make(
        "header",
        {},
        this.heading,
        this.counts,
        make("span", { class: "tools" }, tool("−", "Zoom out", 0.5), tool("+", "Zoom in", 2), tool("Whole", "Show the whole video", 0), this.opener),
      ),
      make("div", { class: "stage" }, this.names, this.scroller),
      this.told,
      this.table,
    );
    this.svg.addEventListener("keydown", (event) => this.onKey(event));
    this.svg.addEventListener("focusin", (event) => this.tell(event.target));
    this.svg.addEventListener("pointerover", (event) => this.tell(event.target));
    this.svg.addEventListener("click", (event) => this.choose(event.target));
  }

  // Takes over a change of the page's state; what is not on screen is drawn when it comes there.
  update() {
    const { least, tiou } = this.state;
    const counts = countVideo(this.video, tiou, least);
    const { f1 } = shares(counts);
    this.counts.textContent =
      `${clock(this.video.ms, 0)} · ` +
      (this.video.known
        ? `${counts.right} of ${counts.truth} found, ${wrong(counts)} wrong, F1 ${percent(f1)}`
        : `not in the ground truth, ${counts.reported} reported`);
    this.lanes = lanesOf(this.video, least);
    const height = this.lanes.length * ROW.lane + ROW.axis;
    this.svg.setAttribute("height", height);
    this.scroller.style.minHeight = `${height}px`;
    if (this.isOnScreen) this.drawAll();
    if (!this.table.hidden) this.table.replaceChildren(this.makeTable());
  }

  toggleTable() {
    this.table.hidden = !this.table.hidden;
    this.opener.setAttribute("aria-expanded", !this.table.hidden);
    this.table.replaceChildren(...(this.table.hidden ? [] : [this.makeTable()]));
  }

  show(isOnScreen) {
    if (this.isOnScreen === isOnScreen) return;
    this.isOnScreen = isOnScreen;
    if (isOnScreen) this.drawAll();
    else if (!this.svg.contains(document.activeElement)) this.svg.replaceChildren();
  }

  zoomBy(factor) {
    const { scroller } = this;
    const middle = (scroller.scrollLeft + scroller.clientWidth / 2) / (scroller.clientWidth * this.zoom);
    this.zoom = Math.min(Math.max(factor ? this.zoom * factor : 1, 1), MOST_ZOOM);
    this.drawAll();
    scroller.scrollLeft = middle * scroller.clientWidth * this.zoom - scroller.clientWidth / 2;
  }

  drawAll() {
    const { video, state, lanes } = this;
    const focused = this.bars && this.bars.findIndex((bar) => bar.node === document.activeElement);
    const width = Math.max(this.scroller.clientWidth, 100) * this.zoom;
    const height = lanes.length * ROW.lane;
    const x = (ms) => (ms / video.ms) * width;
    this.svg.setAttribute("width", width);
    this.svg.setAttribute(
      "aria-label",
      `Timeline of ${video.id}: arrow keys go from bar to bar, plus and minus zoom, Enter ` +
        `${video.src ? "plays" : "keeps the description"}.`,
    );
    const parts = lanes.map((_, lane) =>
      draw("rect", { class: lane % 2 ? "lane odd" : "lane", x: 0, y: lane * ROW.lane, width, height: ROW.lane }),
    );
    parts.push(...this.drawAxis(x, width, height));
    this.bars = this.makeBars(x);
    parts.push(...this.bars.map((bar) => bar.node));
    this.playhead = draw("line", { class: "playhead", y1: 0, y2: height, x1: -9, x2: -9 });
    this.svg.replaceChildren(...parts, this.playhead);
    this.names.replaceChildren(
      ...lanes.map((label) => make("span", { class: `k${state.colours[label]}`, title: state.classes[label] }, state.classes[label])),
    );
    const first = this.bars[focused] || this.bars[0];
    if (first) first.node.setAttribute("tabindex", 0);
    if (focused >= 0 && first) first.node.focus();
  }

  drawAxis(x, width, height) {
    const last = this.video.ms / 1000;
    const hours = Math.ceil((last * 90) / width / 3600); // of longer steps
    const step = TIME_STEPS.find((seconds) => (last / seconds) * 90 <= width) || 3600 * hours;
    const marks = Array.from({ length: Math.floor(last / step) + 1 }, (_, place) => place * step);
    const digits = marks.length > 1 && marks[1] - marks[0] < 1 ? 1 : 0;
    return marks.flatMap((second, place) => {
      const at = x(1000 * second);
      const anchor = place === 0 ? "start" : at > width - 24 ? "end" : "middle";
      return [
        draw("line", { class: "grid", x1: at, x2: at, y1: 0, y2: height + 4 }),
        draw("text", { class: "tick", x: at, y: height + 16, "text-anchor": anchor }, clock(1000 * second, digits)),
      ];
    });
  }

  // Bars by lane and time; of detections the surer ones are drawn over the others.
  makeBars(x) {
    const { video, state, lanes } = this;
    const { tiou, least } = state;
    const laneOf = new Map(lanes.map((label, lane) => [label, lane]));
    const bars = [];
    const add = (item, isTruth, isGood, top, height, opacity, text) => {
      const lane = laneOf.get(item.label);
      const left = x(item.start);
      const kind = isTruth ? "truth" : "found";
      const node = draw("rect", {
        class: `bar ${kind} ${isGood ? "good" : "bad"} k${state.colours[item.label]}`,
        x: left,
        y: lane * ROW.lane + top,
        width: Math.max(x(item.end) - left, LEAST_BAR),
        height,
        rx: 1.5,
        tabindex: -1,
        role: video.src ? "button" : "img",
        "aria-label": text,
      });
      if (opacity) node.style.fillOpacity = opacity;
      node.append(draw("title", {}, text));
      bars.push({ node, item, isTruth, lane, text });
    };
    for (const instance of video.truth) {
      const isGood = isFound(video, instance, tiou, least);
      add(instance, true, isGood, ROW.top, ROW.truth, null, this.describeTruth(instance, isGood));
    }
    const best = state.range[1];
    for (const detection of [...video.found].reverse()) {
      if (!isAbove(detection, least)) continue;
      const isGood = detection.finds[tiou] !== UNKNOWN;
      const opacity = isGood ? 0.35 + 0.65 * Math.max(detection.score / best, 0) : null;
      const top = ROW.top + ROW.truth + ROW.gap;
      add(detection, false, isGood, top, ROW.found, opacity, this.describeFound(detection));
    }
    return bars;
  }

  describeTruth(instance, isGood) {
    const { state, video } = this;
    const text = `Happened: ${state.classes[instance.label]}, ${between(instance)}`;
    if (!isGood) return `${text}, missed`;
    const finder = video.found[instance.finders[state.tiou]];
    return `${text}, found with score ${state.score(finder.score)} and tIoU ${overlap(instance, finder).toFixed(2)}`;
  }

  describeFound(detection) {
    const { state, video } = this;
    const text = `Detected: ${state.classes[detection.label]}, ${between(detection)}, score ${state.score(detection.score)}`;
    const found = detection.finds[state.tiou];
    if (found === UNKNOWN) return `${text}, wrong`;
    return `${text}, right with tIoU ${overlap(detection, video.truth[found]).toFixed(2)}`;
  }

  barOf(node) {
    return this.bars && this.bars.find((bar) => bar.node === node);
  }

  tell(node) {
    const bar = this.barOf(node);
    if (bar) this.told.textContent = bar.text;
  }

  choose(node) {
    const bar = this.barOf(node);
    if (!bar) return;
    this.moveTo(bar);
    if (this.video.src) this.play(bar.item);
  }

  moveTo(bar) {
    for (const other of this.bars) other.node.setAttribute("tabindex", -1);
    bar.node.setAttribute("tabindex", 0);
    bar.node.focus({ preventScroll: true });
    bar.node.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.tell(bar.node);
  }

  onKey(event) {
    const bar = this.barOf(event.target);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
    if (event.key in steps && bar) this.moveTo(this.neighbour(bar, ...steps[event.key]));
    else if (event.key === "Enter" || event.key === " ") this.choose(event.target);
    else if (event.key === "+" || event.key === "=") this.zoomBy(2);
    else if (event.key === "-") this.zoomBy(0.5);
    else if (event.key === "0") this.zoomBy(0);
    else return;
    event.preventDefault();
  }

  // Left and right go through a row by time, up and down to the nearest bar of the next row.
  neighbour(bar, along, across) {
    const row = (one) => 2 * one.lane + (one.isTruth ? 0 : 1);
    if (along) {
      const same = this.bars.filter((one) => row(one) === row(bar));
      same.sort((a, b) => a.item.start - b.item.start || a.item.end - b.item.end);
      return same[same.indexOf(bar) + along] || bar;
    }
    const beyond = this.bars.filter((one) => (row(one) - row(bar)) * across > 0);
    const nearest = Math.min(...beyond.map((one) => Math.abs(row(one) - row(bar))));
    const next = beyond.filter((one) => Math.abs(row(one) - row(bar)) === nearest);
    const far = (one) => Math.abs(one.item.start - bar.item.start);
    return next.reduce((a, b) => (a && far(a) <= far(b) ? a : b), null) || bar;
  }

  play(item) {
    if (!this.player) {
      this.player = make("video", { controls: true, preload: "metadata", src: this.video.src, "aria-label": `Video ${this.video.id}` });
      this.player.addEventListener("timeupdate", () => this.movePlayhead());
      this.player.addEventListener("error", () => {
        this.told.textContent = `The video cannot be played: ${this.video.src} is not there, or of a kind that this browser does not know.`;
      });
      this.told.after(this.player);
    }
    this.player.currentTime = Math.max(item.start / 1000 - BEFORE_SEC, 0);
    const started = this.player.play();
    if (started) started.catch(() => {}); // told by the event
  }

  movePlayhead() {
    const at = (1000 * this.player.currentTime * Number(this.svg.getAttribute("width"))) / this.video.ms;
    this.playhead.setAttribute("x1", at);
    this.playhead.setAttribute("x2", at);
  }

  makeTable() {
    const { video, state } = this;
    const { tiou, least } = state;
    const when = (item) =>
      video.src
        ? make("button", { type: "button", onclick: () => this.play(item), "aria-label": `Play at ${clock(item.start)}` }, clock(item.start))
        : clock(item.start);
    const rows = [
      ...video.truth.map((item) => [item, "happened", "", isFound(video, item, tiou, least) ? "found" : "missed"]),
      ...video.found
        .filter((item) => isAbove(item, least))
        .map((item) => [item, "detected", state.score(item.score), item.finds[tiou] === UNKNOWN ? "wrong" : "right"]),
    ].sort((a, b) => a[0].start - b[0].start || a[0].end - b[0].end);
    return makeTable(
      `What happened and what was detected in ${video.id}, at the threshold above`,
      ["class", "", "start", "end", "seconds", "score", ""],
      rows.map(([item, kind, score, verdict]) => [
        state.classes[item.label],
        kind,
        when(item),
        clock(item.end),
        ((item.end - item.start) / 1000).toFixed(2),
        score,
        verdict,
      ]),
    );
  }
}
