"""Models of torchvision, transformers and OpenCLIP as encoders, run by PyTorch."""

import hashlib

import numpy as np

from keras_actionformer.errors import UserError, suggest
from keras_actionformer.extras import import_extra
from keras_actionformer.video.encoder import PICTURES, NetworkEncoder, Sampling
from keras_actionformer.video.reading import Framing

_CLIP = 16  # frames, where a model takes any number
_HEADS = ("fc", "classifier", "head", "heads")  # what torchvision calls the last layers


def open_torchvision(name):
    """Returns the `Encoder` of a video or image model of torchvision without its last layers.

    The weights are those called `DEFAULT`, which torchvision downloads once; size, cut and pixels
    are those of their transforms. Video models look at 16 frames of 15 a second, as in training.

    Args:
      name: str, e.g. `"r3d_18"`, `"swin3d_t"`, `"resnet50"`.

    Raises:
      UserError: torchvision is not installed, or has no such model.
    """
    models = import_extra("torchvision.models", "torchvision", None, "The encoder torchvision")
    known = [*models.list_models(module=models), *models.list_models(module=models.video)]
    if name not in known:
        near = suggest(name, known) or "; see torchvision.models.list_models()."
        raise UserError(f"torchvision has no video or image model {name!r}{near}")
    weights = models.get_model_weights(name).DEFAULT
    network = models.get_model(name, weights=weights)
    torch = import_extra("torch", "torch", None, "The encoder torchvision")
    for head in _HEADS:
        if hasattr(network, head):
            setattr(network, head, torch.nn.Identity())
    transform, is_video = weights.transforms(), name in models.list_models(module=models.video)
    # The transform scales, cuts and shifts; it is given what it need not scale.
    height, width = _pair(transform.resize_size)
    short_side = height if len(transform.resize_size) == 1 else None
    framing = Framing(height, width, short_side, transform.interpolation.value)

    def features(clips):
        pixels = transform(torch.from_numpy(np.moveaxis(clips, -1, 2).copy()))
        return network((pixels if is_video else pixels[:, 0]).to(_device(torch)))

    return _encoder(
        network,
        features,
        clip_frames=_CLIP if is_video else 1,
        framing=framing,
        sampling=Sampling(15, _CLIP, 4) if is_video else PICTURES,
        record={
            "name": f"torchvision:{name}",
            "weights": str(weights),
            "pixels": f"(x / 255 - {transform.mean}) / {transform.std}, {transform.crop_size}",
        },
    )


def open_transformers(name):
    """Returns the `Encoder` of a video or image model of the Hugging Face hub.

    Its processor makes the pixels. Of tokens, the features are the mean, unless the model gives one
    vector for all. Video models look at as many frames as they were trained with, 7.5 a second.

    Args:
      name: str, a repository (`"MCG-NJU/videomae-base"`, `"facebook/vjepa2-vitl-fpc64-256"`,
        `"facebook/dinov2-base"`) or a folder.

    Raises:
      UserError: transformers or PyTorch is not installed, or the model cannot be had.
    """
    transformers = import_extra("transformers", "transformers", None, "The encoder transformers")
    torch = import_extra("torch", "torch", None, "The encoder transformers")
    try:
        network = transformers.AutoModel.from_pretrained(name)
        config = network.config
        frames = getattr(config, "num_frames", None)
        is_vjepa = hasattr(config, "frames_per_clip")
        frames = _CLIP if is_vjepa else frames
        opened = transformers.AutoVideoProcessor if frames else transformers.AutoImageProcessor
        processor = opened.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"transformers cannot open {name!r}: {str(error)[:500]}") from error
    size = dict(processor.size)
    side = size.get("shortest_edge") or size["height"]

    def features(clips):
        if not frames:
            pixels = processor(images=list(clips[:, 0]), return_tensors="pt")["pixel_values"]
            pixels = pixels.to(_device(torch))
            if hasattr(network, "get_image_features"):  # of image and text
                found = network.get_image_features(pixel_values=pixels)
            else:
                found = network(pixel_values=pixels)
        else:
            videos = [torch.from_numpy(np.moveaxis(clip, -1, 1).copy()) for clip in clips]
            pixels = processor(videos=videos, return_tensors="pt", do_sample_frames=False)
            pixels = {key: value.to(_device(torch)) for key, value in pixels.items()}
            found = network(**pixels, **({"skip_predictor": True} if is_vjepa else {}))
        if torch.is_tensor(found):
            return found
        pooled = getattr(found, "pooler_output", None)
        return found.last_hidden_state.mean(1) if pooled is None else pooled

    return _encoder(
        network,
        features,
        clip_frames=frames or 1,
        framing=Framing(side, side, side, "bicubic"),
        sampling=Sampling(7.5, frames, max(frames // 8, 1)) if frames else PICTURES,
        record={"name": f"transformers:{name}", "pixels": type(processor).__name__},
    )


def open_open_clip(name):
    """Returns the `Encoder` of pictures of OpenCLIP: the vector that is compared with texts.

    Args:
      name: str, e.g. `"ViT-B-32/laion2b_s34b_b79k"`: the model and whose weights.

    Raises:
      UserError: OpenCLIP is not installed, or has no such model and weights.
    """
    open_clip = import_extra("open_clip", "open-clip-torch", None, "The encoder open_clip")
    torch = import_extra("torch", "torch", None, "The encoder open_clip")
    image = import_extra("PIL.Image", "pillow", "video", "The encoder open_clip")
    model, _, tag = name.partition("/")
    if not tag:  # it would take random weights
        raise UserError(f"open_clip:{name} does not say whose weights: open_clip:{name}/TAG.")
    try:
        network, _, transform = open_clip.create_model_and_transforms(model, pretrained=tag)
    except RuntimeError as error:
        raise UserError(f"OpenCLIP has no {name!r} ({error}).") from error
    side, _ = _pair(network.visual.image_size)

    def features(clips):
        pixels = [transform(image.fromarray(picture)) for picture in clips[:, 0]]
        return network.encode_image(torch.stack(pixels).to(_device(torch)))

    return _encoder(
        network,
        features,
        clip_frames=1,
        framing=Framing(side, side, side, "bicubic"),
        sampling=PICTURES,
        record={"name": f"open_clip:{name}", "pixels": "transform of create_model_and_transforms"},
    )


def _encoder(network, features, clip_frames, framing, sampling, record):
    """The `NetworkEncoder` of a function of clips that a PyTorch module is in."""
    torch = import_extra("torch", "torch", None, "This encoder")
    network.eval()
    network.to(_device(torch))

    def numbers(clips):
        with torch.inference_mode():
            return features(clips).reshape(len(clips), -1).float().cpu().numpy()

    digest = hashlib.sha256()
    for value in network.state_dict().values():
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    shape = (1, clip_frames, framing.height, framing.width, 3)
    return NetworkEncoder(
        numbers,
        width=numbers(np.zeros(shape, np.uint8)).shape[-1],
        clip_frames=clip_frames,
        framing=framing,
        sampling=sampling,
        batch_clips=8 if clip_frames == 1 else 1,
        record={**record, "weights_sha256": digest.hexdigest()},
    )


def _device(torch):
    return "cuda" if torch.cuda.is_available() else "cpu"


def _pair(size):
    """A size as (height, width)."""
    numbers = [size] if isinstance(size, int) else list(size)
    return numbers[0], numbers[-1]
