"""Names and shapes of the reference's parameters, written down from its layers.

Independent of the package's own table of names: a module a layer, as PyTorch names them.
"""


def reference_parameters(config):
    """Every parameter of the reference's network.

    Args:
      config: dict, the arguments of `ActionFormer`.

    Returns:
      dict of name to shape.
    """
    shapes = {}
    widths = config["embd_dim"]
    dim = widths if isinstance(widths, int) else sum(widths)
    channels = config["input_dim"]
    if not isinstance(channels, int):
        for i, (source, target) in enumerate(zip(channels, widths, strict=True)):
            add_conv(shapes, f"backbone.proj.{i}.conv", source, target, 1)
        channels = dim
    num_convs, num_stem, num_branches = config["backbone_arch"]
    for i in range(num_convs):
        add_conv(shapes, f"backbone.embd.{i}.conv", channels, dim, 3, bias=False)
        _norm(shapes, f"backbone.embd_norm.{i}", dim)
        channels = dim
    for kind, count in (("stem", num_stem), ("branch", num_branches)):
        for i in range(count):
            add_block(shapes, f"backbone.{kind}.{i}", dim, _norm)
    width = config["head_dim"]
    for level in range(num_branches + 1):
        _norm(shapes, f"neck.fpn_norms.{level}", config["fpn_dim"])
        shapes[f"reg_head.scale.{level}.scale"] = ()
    for head, out, outputs in (
        ("cls_head", "cls_head", config["num_classes"]),
        ("reg_head", "offset_head", 2),
    ):
        for i in range(2):
            source = config["fpn_dim"] if i == 0 else width
            add_conv(shapes, f"{head}.head.{i}.conv", source, width, 3, bias=False)
            _norm(shapes, f"{head}.norm.{i}", width)
        add_conv(shapes, f"{head}.{out}.conv", width, outputs, 3)
    return shapes


def add_block(shapes, name, dim, norm, has_scales=True):
    """Adds the parameters of a transformer block, of which `norm` adds those of a normalization."""
    for part in ("query", "key", "value"):
        shapes[f"{name}.attn.{part}_conv.conv.weight"] = (dim, 1, 3)
        norm(shapes, f"{name}.attn.{part}_norm", dim)
    for part in ("query", "key", "value", "proj"):
        add_conv(shapes, f"{name}.attn.{part}", dim, dim, 1)
    norm(shapes, f"{name}.ln1", dim)
    norm(shapes, f"{name}.ln2", dim)
    add_conv(shapes, f"{name}.mlp.0", dim, 4 * dim, 1)
    add_conv(shapes, f"{name}.mlp.3", 4 * dim, dim, 1)
    if has_scales:
        shapes[f"{name}.drop_path_attn.scale"] = (1, dim, 1)
        shapes[f"{name}.drop_path_mlp.scale"] = (1, dim, 1)


def add_conv(shapes, name, source, target, kernel, bias=True):
    """Adds the parameters of a convolution over time."""
    shapes[f"{name}.weight"] = (target, source, kernel)
    if bias:
        shapes[f"{name}.bias"] = (target,)


def _norm(shapes, name, dim):
    shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (1, dim, 1)
