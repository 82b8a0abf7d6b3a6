"""Training batches of golden files that OpenTAD has computed."""

import numpy as np


def opentad_batch(golden, prefix, most_actions=1):
    """The batch under `prefix` (`feats`, `mask`, `gt_segments_0`, ...) as ours: `(x, y)`.

    Args:
      golden: dict of arrays by name.
      prefix: str, e.g. `"in/full/"`.
      most_actions: int, room for at least so many in each sequence.
    """
    feats, mask = golden[f"{prefix}feats"].transpose(0, 2, 1), golden[f"{prefix}mask"]
    labels_of = [golden[f"{prefix}gt_labels_{i}"] for i in range(len(feats))]
    most = max(most_actions, *map(len, labels_of))
    segments = np.zeros((len(feats), most, 2), "float32")
    labels = np.full((len(feats), most), -1, "int32")
    for row, of_row in enumerate(labels_of):
        segments[row, : len(of_row)] = golden[f"{prefix}gt_segments_{row}"].reshape(-1, 2)
        labels[row, : len(of_row)] = of_row
    return {"feats": feats, "mask": mask.astype(bool)}, {"segments": segments, "labels": labels}
