"""Useful work of the network: multiply-adds that an architecture needs, whatever computes them.

Counted are the products of convolutions, projections and attention at the steps that a sequence
has: of T steps, level l has ceil(T / stride_l). Not counted are steps that only pad (to the
coarsest stride, to an attention block, to the longest of a batch), keys that a block of queries
meets outside of their windows, and what takes time but multiplies no matrices: normalizations,
activations, the softmax, scales, biases, the pooled skip, decoding and suppression. Work that an
implementation does beyond this makes it slower and its rate no higher.
"""

from keras_actionformer.network.layers import strided_length


def multiply_adds(architecture, num_steps):
    """Counts the multiply-adds of one sequence through the network.

    Args:
      architecture: `Architecture`.
      num_steps: int, T.

    Returns:
      dict of int: `"embedding"` (with the projections of several streams), `"attention
      projections"` (query, key, value and output, with the depthwise convolutions before them),
      `"attention products"` (queries with keys, weights with values), `"MLP"` (of the
      convolutional baseline: all convolutions of its blocks), `"neck"`, `"classification head"` and
      `"regression head"`.
    """
    num_points = sum(strided_length(num_steps, stride) for stride in architecture.strides)
    return {
        "embedding": num_steps * _embedding(architecture),
        **_blocks(architecture, num_steps),
        "neck": num_points * _neck(architecture),
        "classification head": num_points * _head(architecture, architecture.num_classes),
        "regression head": num_points * _head(architecture, 2),
    }


def paper_multiply_adds(architecture, num_steps):
    """Counts the multiply-adds of one sequence as the table of the ActionFormer paper has them.

    There are two more sorts than the useful ones: those of normalizations, two a number (its
    square is summed; it is scaled and shifted), and those that the reference's attention within
    windows computes and then hides.

    Args:
      architecture: `Architecture`.
      num_steps: int, T.

    Returns:
      dict of int: `"embedding"`, `"attention"`, `"MLP"` and so on, as for `multiply_adds`.
    """
    counts = multiply_adds(architecture, num_steps)
    attention = counts.pop("attention projections")
    counts.pop("attention products")
    width, embeddings = architecture.width, architecture.backbone_arch[0]
    for block in architecture.blocks:
        if block.window is None:  # without normalizations
            continue
        length, steps_in = (
            strided_length(num_steps, stride) for stride in (block.stride_out, block.stride_in)
        )
        attention += width * _paper_pairs(length, block.window)
        attention += 2 * width * (steps_in + 3 * length)  # before it, and of query, key and value
        counts["MLP"] += 2 * width * length
    num_points = sum(strided_length(num_steps, stride) for stride in architecture.strides)
    hidden = architecture.head_dim * (architecture.head_num_layers - 1)
    counts["embedding"] += 2 * num_steps * width * embeddings * architecture.embd_with_ln
    norms = 2 if architecture.fpn_type == "full_fpn" else 1
    counts["neck"] += 2 * norms * num_points * architecture.fpn_dim * architecture.fpn_with_ln
    for head in ("classification head", "regression head"):
        counts[head] += 2 * num_points * hidden * architecture.head_with_ln
    return {**counts, "attention": attention}


def gflop(architecture, num_steps):
    """Billions of floating-point operations, two a multiply-add, of one sequence: float."""
    return 2e-9 * sum(multiply_adds(architecture, num_steps).values())


def _embedding(architecture):
    """Multiply-adds of a step."""
    channels, count = architecture.channels, 0
    if architecture.has_streams:
        count = sum(map(int.__mul__, architecture.input_dim, architecture.embd_dim))
        channels = architecture.width
    for _ in range(architecture.backbone_arch[0]):
        count += architecture.embd_kernel_size * channels * architecture.width
        channels = architecture.width
    return count


def _blocks(architecture, num_steps):
    """Multiply-adds of all blocks."""
    dim = architecture.width
    counts = {"attention projections": 0, "attention products": 0, "MLP": 0}
    for block in architecture.blocks:
        length = strided_length(num_steps, block.stride_out)
        stride = block.stride_out // block.stride_in
        if block.window is None:
            # Three taps to twice the width, three back, and the strided skip.
            counts["MLP"] += length * (2 * 3 * 2 * dim * dim + (stride > 1) * dim * dim)
            continue
        depthwise = 3 * dim * (stride + 1 if stride > 1 else 3)
        counts["attention projections"] += length * (4 * dim * dim + depthwise)
        counts["attention products"] += 2 * dim * _num_pairs(length, block.window)
        counts["MLP"] += length * 2 * 4 * dim * dim
    return counts


def _num_pairs(length, window):
    """Pairs of a query and a key that it sees."""
    farthest = length - 1 if window <= 1 else min(window // 2, length - 1)
    # Itself, and the keys at each distance on both sides, without those past the ends.
    return length + 2 * farthest * length - farthest * (farthest + 1)


def _paper_pairs(length, window):
    """Pairs of a query and a key that the reference multiplies: first them, then their values.

    Within windows of 2 n + 1 it multiplies all steps of chunks of 2 n, which begin every n steps,
    with each other; and then the weights of n steps with the values of the 3 n around them.
    """
    if window <= 1:
        return 2 * _num_pairs(length, window)
    reach = window // 2
    length = -(-length // (2 * reach)) * 2 * reach  # padded
    return (length // reach - 1) * (2 * reach) ** 2 + length * 3 * reach


def _neck(architecture):
    """Multiply-adds of a point."""
    if architecture.fpn_type == "identity":
        return 0
    taps = 3 * (architecture.fpn_dim if architecture.fpn_type == "full_fpn" else 1)
    return (architecture.width + taps) * architecture.fpn_dim


def _head(architecture, outputs):
    """Multiply-adds of a point in a head with so many outputs."""
    hidden = [architecture.head_dim] * (architecture.head_num_layers - 1)
    widths = [architecture.fpn_dim, *hidden, outputs]
    return sum(
        architecture.head_kernel_size * source * target
        for source, target in zip(widths, widths[1:])
    )
