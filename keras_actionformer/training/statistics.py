"""Numbers about a data set, as plain dicts that JSON can hold, and as text that a person reads."""

import numpy as np

from keras_actionformer.data.encoder_records import describe_record
from keras_actionformer.detection.text_table import table
from keras_actionformer.errors import counted
from keras_actionformer.training.pyramid import count_points

_BAR_WIDTH = 40
_QUANTILES = {"min": 0.0, "5%": 0.05, "median": 0.5, "95%": 0.95, "max": 1.0}

# === Numbers ===


def annotation_statistics(annotations, durations_sec):
    """Counts videos, classes and actions.

    Args:
      annotations: `Annotations`.
      durations_sec: dict, video id to seconds, of the videos whose duration is known.

    Returns:
      dict with "subsets", "classes", "durations_sec" and "action_lengths_sec".
    """
    subsets = {}
    for video in annotations.videos:
        subsets.setdefault(video.subset, []).append(video)
    segments = _concatenate([v.segments_sec for v in annotations.videos], (0, 2))
    labels = _concatenate([v.labels for v in annotations.videos], (0,))
    lengths_sec = segments[:, 1] - segments[:, 0]
    counts = {
        name: np.bincount(
            _concatenate([v.labels for v in videos], (0,)), minlength=len(annotations.class_names)
        )
        for name, videos in subsets.items()
    }
    return {
        "subsets": {
            name: _subset_numbers(videos, durations_sec) for name, videos in sorted(subsets.items())
        },
        "classes": [
            {
                "label_id": i,
                "name": name,
                "actions": {subset: int(count[i]) for subset, count in sorted(counts.items())},
                "median_sec": float(np.median(lengths_sec[labels == i])) if i in labels else None,
            }
            for i, name in enumerate(annotations.class_names)
        ],
        "durations_sec": _distribution(np.array(list(durations_sec.values())), _even_edges),
        "action_lengths_sec": _distribution(lengths_sec, _doubling_edges),
    }


def _subset_numbers(videos, durations_sec):
    known = [video for video in videos if video.video_id in durations_sec]
    total_sec = sum(durations_sec[video.video_id] for video in known)
    action_sec = sum(_covered_sec(v.segments_sec, durations_sec[v.video_id]) for v in known)
    return {
        "videos": len(videos),
        "videos_without_actions": sum(not len(video.labels) for video in videos),
        "actions": sum(len(video.labels) for video in videos),
        "hours": total_sec / 3600,
        "share_in_actions": action_sec / total_sec if total_sec else None,
    }


def _covered_sec(segments_sec, duration_sec):
    """Seconds of a video that lie in an action, those in several counted once."""
    covered, reached = 0.0, 0.0
    for start, end in sorted(np.clip(segments_sec, 0, duration_sec).tolist()):
        covered += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return covered


def _distribution(values, edges_of):
    """Quantiles and histogram of some numbers, or None when there is none."""
    if not len(values):
        return None
    counts, edges = np.histogram(values, edges_of(values))
    return {
        "count": len(values),
        "quantiles": quantiles(values),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }


def quantiles(values):
    """Returns {"min", "5%", "median", "95%", "max"} of some numbers."""
    return {name: float(np.quantile(values, q)) for name, q in _QUANTILES.items()}


def _even_edges(values):
    """Edges of up to nine bins of equal, round width."""
    rough = max(np.ptp(values), 1e-3 * np.max(values), 1e-9) / 8
    power = 10.0 ** np.floor(np.log10(rough))
    width = power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = np.floor(np.min(values) / width)
    last = max(np.ceil(np.max(values) / width), first + 1)
    return np.arange(first, last + 1) * width


def _doubling_edges(values):
    """Edges of bins that double: actions of a fraction of a second stand beside those of hours."""
    # Exponents below -10 are actions without length.
    first, last = np.log2(np.clip([np.min(values), np.max(values)], 2.0**-10, None))
    edges = 2.0 ** np.arange(np.floor(first), max(np.ceil(last), np.floor(first) + 1) + 1)
    edges[0] = min(edges[0], np.min(values))
    return edges


def feature_statistics(sequences):
    """Describes features that were read.

    Args:
      sequences: objects with the fields `num_steps`, `num_channels` and `limits`, at least one.

    Returns:
      dict with "videos", "channels", "steps", "values" (lowest and highest) and "megabytes".
    """
    return {
        "videos": len(sequences),
        "channels": sorted({sequence.num_channels for sequence in sequences}),
        "steps": quantiles([sequence.num_steps for sequence in sequences]),
        "values": [min(s.limits[0] for s in sequences), max(s.limits[1] for s in sequences)],
        "megabytes": sum(4e-6 * s.num_steps * s.num_channels for s in sequences),
    }


def pyramid_statistics(sequences, pyramid):
    """Counts what each level of a pyramid learns of the training videos.

    Args:
      sequences: objects with the fields `video` (`Video`), `grid` (`FeatureGrid`) and `num_steps`.
      pyramid: `Pyramid`.

    Returns:
      dict with the pyramid's own numbers, "levels", a dict each, "unlearnt", the actions that no
      level learns, and how many videos and actions are long for `max_seq_len`.
    """
    lengths, counts, unlearnt = [], [], []
    for sequence in sequences:
        video = sequence.video
        segments_grid = sequence.grid.to_grid(video.segments_sec)
        lengths.append(segments_grid[:, 1] - segments_grid[:, 0])
        counts.append(count_points(segments_grid, sequence.num_steps, pyramid))
        for row in np.flatnonzero(~counts[-1].any(axis=1)):
            start, end = video.segments_sec[row].tolist()
            steps = float(lengths[-1][row])
            unlearnt.append({"video": video.video_id, "segment": [start, end], "steps": steps})
    lengths, counts = np.concatenate(lengths), np.concatenate(counts)
    levels = zip(pyramid.strides, pyramid.regression_range, counts.T, strict=True)
    return {
        **_pyramid_numbers(pyramid),
        "videos": len(sequences),
        "videos_longer": sum(s.num_steps > pyramid.max_seq_len for s in sequences),
        "actions": len(lengths),
        "actions_longer": int(np.count_nonzero(lengths > pyramid.max_seq_len)),
        "actions_longer_than_half": int(np.count_nonzero(lengths > pyramid.max_seq_len / 2)),
        "levels": [
            {
                "stride": int(stride),
                "regression_range": [float(low), float(high)],
                "actions": int(np.count_nonzero(points)),
                "points": int(points.sum()),
            }
            for stride, (low, high), points in levels
        ],
        "unlearnt": unlearnt,
    }


def pyramid_warnings(numbers):
    """Says what looks wrong in the numbers of `pyramid_statistics`; returns a list of str."""
    warnings, unlearnt = [], numbers["unlearnt"]
    if unlearnt:
        first = unlearnt[0]
        start, end = first["segment"]
        short = sum(action["steps"] < 1 for action in unlearnt)
        warnings.append(
            f"{len(unlearnt)} of {numbers['actions']} training actions are learnt at no level "
            f"({short} of them are shorter than one step of the features; others lie outside the "
            f"regression ranges, or under shorter actions), first in {first['video']!r} from "
            f"{start:g} to {end:g} s, {first['steps']:.4g} steps."
        )
    if numbers["actions_longer"]:
        warnings.append(
            f"{numbers['actions_longer']} of {numbers['actions']} training actions are longer than "
            f"max_seq_len={numbers['max_seq_len']} steps and are never seen whole."
        )
    return warnings


def _pyramid_numbers(pyramid):
    return {
        "max_seq_len": int(pyramid.max_seq_len),
        "num_levels": len(pyramid.strides),
        "regression_range": [[float(a), float(b)] for a, b in pyramid.regression_range],
    }


def suggestion_statistics(pyramid, sequences):
    """Returns a suggested `Pyramid` as a dict, with the share of sequences that it holds whole."""
    share = np.mean([sequence.num_steps <= pyramid.max_seq_len for sequence in sequences])
    return {**_pyramid_numbers(pyramid), "share_of_videos": float(share)}


def _concatenate(arrays, shape):
    dtype = np.float64 if len(shape) == 2 else np.int64
    return np.concatenate([np.zeros(shape, dtype), *arrays])


# === Text ===


def format_statistics(numbers):
    """Writes the dicts of this module as a report.

    Args:
      numbers: dict with what `annotation_statistics` returns, and perhaps "features", "pyramid"
        and "suggestion".

    Returns:
      str of several lines.
    """
    parts = []
    if "subsets" in numbers:
        parts += [_subset_table(numbers["subsets"]), _class_table(numbers)]
        parts.append(_histogram("Videos last", numbers["durations_sec"]))
        parts.append(_histogram("Actions last", numbers["action_lengths_sec"]))
    if numbers.get("features"):
        parts.append(_features_text(numbers["features"]))
    if numbers.get("pyramid"):
        parts.append(_pyramid_text(numbers["pyramid"]))
    if numbers.get("suggestion"):
        parts.append(_suggestion_text(numbers["suggestion"]))
    return "\n\n".join(part for part in parts if part)


def _subset_table(subsets):
    rows = [["subset", "videos", "without actions", "actions", "hours", "in actions"]]
    for name, subset in subsets.items():
        share = subset["share_in_actions"]
        rows.append(
            [
                name,
                f"{subset['videos']:,}",
                f"{subset['videos_without_actions']:,}",
                f"{subset['actions']:,}",
                f"{subset['hours']:.2f}" if subset["hours"] else "unknown",
                "unknown" if share is None else f"{share:.1%}",
            ]
        )
    return table(rows)


def _class_table(numbers):
    subsets = list(numbers["subsets"])
    classes = sorted(numbers["classes"], key=lambda c: -sum(c["actions"].values()))
    is_weighted = any("weight" in one for one in classes)
    rows = [["class", "id", *subsets, "median s", *(["weight"] if is_weighted else [])]]
    for one in classes:
        median = one["median_sec"]
        counts = [f"{one['actions'][subset]:,}" for subset in subsets]
        weight = [f"{one['weight']:.3g}"] if is_weighted else []
        median = "" if median is None else f"{median:.2f}"
        rows.append([one["name"], str(one["label_id"]), *counts, median, *weight])
    return table(rows)


def _histogram(title, distribution):
    if distribution is None:
        return f"{title}: unknown."
    q = distribution["quantiles"]
    lines = [
        f"{title} {q['min']:.4g} to {q['max']:.4g} s: median {q['median']:.4g} s, "
        f"nine in ten {q['5%']:.4g} to {q['95%']:.4g} s"
    ]
    edges, counts = distribution["histogram"]["edges"], distribution["histogram"]["counts"]
    rows = []
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        bar = "#" * int(np.ceil(_BAR_WIDTH * count / max(counts)))
        rows.append(("", f"{low:g} - {high:g} s", f"{bar}{bar and ' '}{count}"))
    return "\n".join([*lines, table(rows, ("<", ">", "<"))])


def _features_text(features):
    steps, values, record = features["steps"], features["values"], features.get("encoder")
    return (
        f"Features of {counted(features['videos'], 'video')}: "
        f"{' or '.join(map(str, features['channels']))} channels, "
        f"{steps['min']:.0f} to {steps['max']:.0f} steps (median {steps['median']:.0f}), "
        f"values {values[0]:.4g} to {values[1]:.4g}, {features['megabytes']:,.0f} MB as float32"
        + (f", computed by {describe_record(record)}" if record else "")
    )


def _pyramid_text(pyramid):
    lines = [
        f"Training on max_seq_len={pyramid['max_seq_len']} steps: {pyramid['videos_longer']} of "
        f"{pyramid['videos']} videos are longer and are seen through random windows; "
        f"{pyramid['actions_longer_than_half']} of {pyramid['actions']} actions are longer than "
        "half of it."
    ]
    rows = [["level", "stride", "regression range", "actions", "points"]]
    for i, level in enumerate(pyramid["levels"]):
        low, high = level["regression_range"]
        counts = [f"{level['actions']:,}", f"{level['points']:,}"]
        rows.append([str(i), str(level["stride"]), f"{low:g} - {high:g}", *counts])
    lines.append(table(rows))
    lines.append(
        f"{len(pyramid['unlearnt'])} actions are learnt at no level; one may be learnt at several. "
        "Counted on whole sequences."
    )
    return "\n".join(lines)


def _suggestion_text(suggestion):
    ranges = ", ".join(f"({low:g}, {high:g})" for low, high in suggestion["regression_range"])
    return (
        f"Suggested: max_seq_len = {suggestion['max_seq_len']} "
        f"({suggestion['share_of_videos']:.0%} of the videos fit), "
        f"{suggestion['num_levels']} levels (backbone_arch[2] = {suggestion['num_levels'] - 1}), "
        f"regression_range = ({ranges})"
    )
