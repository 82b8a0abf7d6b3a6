"""Names and shapes of OpenTAD's parameters, written down from its layers.

Independent of the package's own table of names: a module a layer, as PyTorch names them.
"""

from helpers.reference_parameters import add_block, add_conv


def opentad_parameters(model):
    """Every entry of the state dict of OpenTAD's ActionFormer.

    Args:
      model: dict, the section `model` of a configuration.

    Returns:
      dict of name to shape, without the `module.` that its checkpoints put before each.
    """
    projection, neck, head = (model[name] for name in ("projection", "neck", "rpn_head"))
    shapes, channels, widths = {}, projection["in_channels"], projection["out_channels"]
    dim = widths if isinstance(widths, int) else sum(widths)
    if not isinstance(channels, int):
        for i, (source, target) in enumerate(zip(channels, widths, strict=True)):
            add_conv(shapes, f"projection.proj.{i}.conv", source, target, 1)
        channels = dim
    convolutions, stem, branches = projection["arch"]
    kernel, norm = projection["conv_cfg"]["kernel_size"], projection.get("norm_cfg")
    for i in range(convolutions):
        _module(shapes, f"projection.embed.{i}", channels, dim, kernel, norm)
        channels = dim
    for kind, count in (("stem", stem), ("branch", branches)):
        for i in range(count):
            add_block(shapes, f"projection.{kind}.{i}", dim, _norm, projection["path_pdrop"] > 0)
    _neck(shapes, neck)
    width = head["feat_channels"]
    shapes["rpn_head.loss_normalizer"] = ()
    for kind, outputs in (("cls", head["num_classes"]), ("reg", 2)):
        for i in range(head["num_convs"]):
            source = head["in_channels"] if i == 0 else width
            _module(shapes, f"rpn_head.{kind}_convs.{i}", source, width, 3, {"type": "LN"})
        add_conv(shapes, f"rpn_head.{kind}_head", width, outputs, 3)
    for level in range(len(head["prior_generator"]["strides"])):
        shapes[f"rpn_head.scale.{level}.scale"] = ()
    return shapes


def _neck(shapes, neck):
    levels = neck["num_levels"] - neck.get("start_level", 0)
    for i in range(levels):
        if neck["type"] == "FPNIdentity":
            if neck.get("norm_cfg", "LN") is not None:
                _norm(shapes, f"neck.fpn_norms.{i}", neck["out_channels"])
            continue
        norm = neck.get("norm_cfg")
        _module(
            shapes, f"neck.lateral_convs.{i}", neck["in_channels"], neck["out_channels"], 1, norm
        )
        _module(shapes, f"neck.fpn_convs.{i}", neck["out_channels"], neck["out_channels"], 3, norm)


def _module(shapes, name, source, target, kernel, norm):
    add_conv(shapes, f"{name}.conv", source, target, kernel, bias=norm is None)
    if norm is not None:
        _norm(shapes, f"{name}.norm", target)


def _norm(shapes, name, dim):
    shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (dim,)
