"""Recordings of made-up sensors: bouts of oscillation in noise, as raw samples in CSV files."""

import dataclasses

import numpy as np

RATE_HZ = 50
_CHANNELS = 6


@dataclasses.dataclass(frozen=True)
class Bouts:
    """What a set of recordings holds.

    Args:
      num_recordings: int.
      recording_sec: float, length of each.
      frequencies_hz: floats, one a class: how fast a bout of it oscillates.
      bouts_per_class: int, in all recordings.
      length_sec: (shortest, longest) bout, log-uniform.
    """

    num_recordings: int = 3
    recording_sec: float = 180
    frequencies_hz: tuple = (4, 0.8)
    bouts_per_class: int = 19
    length_sec: tuple = (3, 8)


def write_recordings(folder, bouts, seed=0):
    """Writes `raw/<name>.csv` (time and six channels), and returns the bouts.

    Returns:
      list of (recording, start_sec, end_sec, label), in the order of time in each.
    """
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((len(bouts.frequencies_hz), _CHANNELS))
    labels = rng.permutation(np.repeat(np.arange(len(bouts.frequencies_hz)), bouts.bouts_per_class))
    time = np.arange(round(bouts.recording_sec * RATE_HZ)) / RATE_HZ
    (folder / "raw").mkdir(parents=True)
    rows = []
    for i in range(bouts.num_recordings):
        samples = rng.normal(0, 0.3, (len(time), _CHANNELS))
        own = labels[i :: bouts.num_recordings]
        lengths = np.exp(rng.uniform(*np.log(bouts.length_sec), len(own)))
        gaps = rng.dirichlet(np.ones(len(own) + 1)) * (bouts.recording_sec - lengths.sum())
        ends = np.cumsum(gaps[:-1] + lengths)
        for label, start, end in zip(own, ends - lengths, ends, strict=True):
            inside = (time >= start) & (time < end)
            phase = 2 * np.pi * (bouts.frequencies_hz[label] * time[inside] + rng.uniform())
            samples[inside] += np.sin(phase)[:, None] * directions[label]
            rows.append((f"recording{i}", round(start, 2), round(end, 2), f"class {label}"))
        table = np.column_stack([time, samples])
        header = "time_s," + ",".join(f"channel{c}" for c in range(_CHANNELS))
        np.savetxt(
            folder / "raw" / f"recording{i}.csv", table, "%.6g", ",", header=header, comments=""
        )
    return rows


def write_german_table(path, rows):
    """Writes bouts as a German Excel does: semicolons, decimal commas, Latin-1, no subsets."""
    lines = ["Video;Start (s);Ende (s);Verhalten"]
    for recording, start, end, label in rows:
        times = f"{start:.2f};{end:.2f}".replace(".", ",")
        lines.append(f"{recording};{times};{label.replace('class', 'Läufer')}")
    path.write_text("\n".join(lines) + "\n", encoding="latin-1")
