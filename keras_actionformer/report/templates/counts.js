// What is left of detections at a score threshold, counted. Nothing here touches the document.
//
// Which detection finds which instance is settled before (it does not depend on the threshold, as
// detections are matched by falling score): so counting is all there is to do.

const UNKNOWN = -1;

// The lists of `page_data.timeline_data` as records.
function readVideos(data) {
  const width = 3 + data.tious.length;
  return data.videos.map((video, index) => {
    const truth = [];
    for (let at = 0; at < video.truth.length; at += width) {
      const [label, start, length, ...finders] = video.truth.slice(at, at + width);
      truth.push({ label, start, end: start + length, finders });
    }
    const found = [];
    for (let at = 0; at < video.found.length; at += 4) {
      const [label, start, length, score] = video.found.slice(at, at + 4);
      const finds = data.tious.map(() => UNKNOWN);
      found.push({ label, start, end: start + length, score, finds });
    }
    truth.forEach((instance, place) => {
      instance.finders.forEach((finder, tiou) => {
        if (finder !== UNKNOWN) found[finder].finds[tiou] = place;
      });
    });
    return { index, id: video.id, ms: video.ms, known: video.known === 1, src: video.src, truth, found };
  });
}

// Whether a detection counts: `least` has the threshold of each class, in steps of scores.
function isAbove(detection, least) {
  return detection.score >= least[detection.label];
}

// Whether something that counts finds an instance.
function isFound(video, instance, tiou, least) {
  const finder = instance.finders[tiou];
  return finder !== UNKNOWN && isAbove(video.found[finder], least);
}

function countVideo(video, tiou, least) {
  let reported = 0;
  let right = 0;
  for (const detection of video.found) {
    if (!isAbove(detection, least)) continue;
    reported += 1;
    if (detection.finds[tiou] !== UNKNOWN) right += 1;
  }
  return { truth: video.truth.length, reported, right };
}

function addCounts(counts) {
  const sum = { truth: 0, reported: 0, right: 0 };
  for (const one of counts) {
    sum.truth += one.truth;
    sum.reported += one.reported;
    sum.right += one.right;
  }
  return sum;
}

// Shares, NaN where there is nothing to have a share of.
function shares(counts) {
  const { truth, reported, right } = counts;
  return {
    precision: right / reported,
    recall: right / truth,
    f1: (2 * right) / (reported + truth),
  };
}

// The classes that have a lane in a video: those of its instances and of what counts.
function lanesOf(video, least) {
  const labels = new Set(video.truth.map((instance) => instance.label));
  for (const detection of video.found) if (isAbove(detection, least)) labels.add(detection.label);
  return [...labels].sort((a, b) => a - b);
}

const wrong = (counts) => counts.reported - counts.right;
const missed = (counts) => counts.truth - counts.right;
const mistakes = (counts) => wrong(counts) + missed(counts);

// Without instances and detections there is no F1, and nothing to see: last of all.
function orderKey(counts) {
  const { f1 } = shares(counts);
  return Number.isNaN(f1) ? 2 : f1;
}

const ORDERS = {
  worst: (a, b) => orderKey(a.counts) - orderKey(b.counts) || mistakes(b.counts) - mistakes(a.counts),
  best: (a, b) => (orderKey(b.counts) % 2) - (orderKey(a.counts) % 2) || b.counts.right - a.counts.right,
  missed: (a, b) => missed(b.counts) - missed(a.counts),
  wrong: (a, b) => wrong(b.counts) - wrong(a.counts),
  longest: (a, b) => b.video.ms - a.video.ms,
  name: (a, b) => a.video.id.localeCompare(b.video.id, undefined, { numeric: true }),
};

// Videos with their counts in an order of `ORDERS`; equal ones stay as they were.
function inOrder(videos, counts, order) {
  const rows = videos.map((video) => ({ video, counts: counts[video.index] }));
  return rows.sort(ORDERS[order]);
}

// Whether a text is part of a video's name, or of a class that happens or is reported in it.
function matches(video, text, classes, least) {
  const wanted = text.trim().toLowerCase();
  if (!wanted || video.id.toLowerCase().includes(wanted)) return true;
  return lanesOf(video, least).some((label) => classes[label].toLowerCase().includes(wanted));
}
