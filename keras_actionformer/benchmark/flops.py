"""Useful work of the network: multiply-adds that an architecture needs, whatever computes them.

Counted are the products of convolutions, projections and attention at the steps that a sequence
has: of T steps, level l has ceil(T / stride_l). Not counted are steps that only pad (to the
coarsest stride, to an attention block, to the longest of a batch), keys that a block of queries
meets outside of their windows, and what takes time but multiplies no matrices: normalizations,
activations, the softmax, scales, biases, the pooled skip, decoding and suppression. Work that an
implementation does beyond this makes it slower and its rate no higher.
"""

from keras_actionformer.network.layers import strided_length


def multiply_adds(config, num_steps):
    """Counts the multiply-adds of one sequence through the network.

    Args:
      config: dict, `ActionFormer.config`.
      num_steps: int, T.

    Returns:
      dict of int: `"embedding"` (with the projections of several streams), `"attention
      projections"` (query, key, value and output, with the depthwise convolutions before them),
      `"attention products"` (queries with keys, weights with values), `"MLP"` (of the
      convolutional baseline: all convolutions of its blocks), `"neck"`, `"classification head"` and
      `"regression head"`.
    """
    num_branches = config["backbone_arch"][2]
    lengths = [
        strided_length(num_steps, config["scale_factor"] ** level)
        for level in range(num_branches + 1)
    ]
    head_lengths = lengths[config["fpn_start_level"] :]
    num_points = sum(head_lengths)
    return {
        "embedding": num_steps * _embedding(config),
        **_blocks(config, lengths),
        "neck": num_points * _neck(config),
        "classification head": num_points * _head(config, config["num_classes"]),
        "regression head": num_points * _head(config, 2),
    }


def gflop(config, num_steps):
    """Billions of floating-point operations, two a multiply-add, of one sequence: float."""
    return 2e-9 * sum(multiply_adds(config, num_steps).values())


def _width(config):
    """D, of all streams together."""
    width = config["embd_dim"]
    return width if isinstance(width, int) else sum(width)


def _embedding(config):
    """Multiply-adds of a step."""
    width, count = config["input_dim"], 0
    if not isinstance(width, int):
        count = sum(map(int.__mul__, width, config["embd_dim"]))
        width = sum(config["embd_dim"])
    for _ in range(config["backbone_arch"][0]):
        count += config["embd_kernel_size"] * width * _width(config)
        width = _width(config)
    return count


def _blocks(config, lengths):
    """Multiply-adds of all blocks, for the steps of every level."""
    windows, num_stem = config["n_mha_win_size"], config["backbone_arch"][1]
    windows = [windows] * len(lengths) if isinstance(windows, int) else windows
    # One a block: steps that come out of it, its stride and its window.
    blocks = [(lengths[0], 1, windows[0])] * num_stem
    blocks += [
        (length, config["scale_factor"], window)
        for length, window in zip(lengths[1:], windows[1:], strict=True)
    ]
    dim = _width(config)
    counts = {"attention projections": 0, "attention products": 0, "MLP": 0}
    for length, stride, window in blocks:
        if config["backbone_type"] == "conv":
            # Three taps to twice the width, three back, and the strided skip.
            counts["MLP"] += length * (2 * 3 * 2 * dim * dim + (stride > 1) * dim * dim)
            continue
        depthwise = 3 * dim * (stride + 1 if stride > 1 else 3)
        counts["attention projections"] += length * (4 * dim * dim + depthwise)
        counts["attention products"] += 2 * dim * _num_pairs(length, window)
        counts["MLP"] += length * 2 * 4 * dim * dim
    return counts


def _num_pairs(length, window):
    """Pairs of a query and a key that it sees."""
    farthest = length - 1 if window <= 1 else min(window // 2, length - 1)
    # Itself, and the keys at each distance on both sides, without those past the ends.
    return length + 2 * farthest * length - farthest * (farthest + 1)


def _neck(config):
    """Multiply-adds of a point."""
    if config["fpn_type"] == "identity":
        return 0
    return (_width(config) + 3) * config["fpn_dim"]


def _head(config, outputs):
    """Multiply-adds of a point in a head with so many outputs."""
    widths = [config["fpn_dim"], *[config["head_dim"]] * (config["head_num_layers"] - 1), outputs]
    return sum(
        config["head_kernel_size"] * source * target for source, target in zip(widths, widths[1:])
    )
