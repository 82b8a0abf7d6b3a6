"""A SavedModel with the signature of an exported detector that takes no time to make or to run.

All that it answers depends on all that it is told, so that a mix-up of requests shows.
"""

import inspect
import pathlib

import tensorflow as tf

NUM_CHANNELS = 4
NUM_DETECTIONS = 3
POISON = 666.0  # a feature at which the model raises
TOIL = 555.0  # a feature at which the model computes for minutes

_DEFAULTS = {"num_steps": 0, "fps": 0.0, "duration_sec": 0.0}


def save_small_detector(
    folder, num_channels=NUM_CHANNELS, optional=tuple(_DEFAULTS), signature="serving_default"
):
    """Writes it to `folder`; the scalars in `optional` have default values."""
    specs = {
        "feats": tf.TensorSpec((None, None, num_channels), tf.float32, "feats"),
        "num_steps": tf.TensorSpec((None,), tf.int32, "num_steps"),
        "fps": tf.TensorSpec((None,), tf.float32, "fps"),
        "duration_sec": tf.TensorSpec((None,), tf.float32, "duration_sec"),
    }
    names = sorted(specs, key=lambda name: name in optional)
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=tf.constant([_DEFAULTS[name]], specs[name].dtype)
            if name in optional
            else inspect.Parameter.empty,
        )
        for name in names
    ]

    def call(*args):
        return _detect(**dict(zip(names, args, strict=True)))

    call.__signature__ = inspect.Signature(parameters)
    function = tf.function(call, input_signature=[specs[name] for name in names], autograph=False)
    tf.saved_model.save(tf.Module(), str(folder), {signature: function})
    pathlib.Path(folder, "fingerprint.pb").unlink()  # an export has none


def _detect(feats, num_steps, fps, duration_sec):
    batch, length = tf.shape(feats)[0], tf.shape(feats)[1]
    check = tf.debugging.assert_less(feats, POISON, "poison")
    num_rounds = tf.where(tf.reduce_any(feats == TOIL), tf.int32.max, 0)
    toil = tf.while_loop(lambda i: i < num_rounds, lambda i: [i + 1], [0])
    with tf.control_dependencies([check, *toil]):
        num_steps = tf.broadcast_to(tf.where(num_steps > 0, num_steps, length), (batch,))
    fps = tf.broadcast_to(tf.where(fps > 0, fps, 10.0), (batch,))
    limit = tf.broadcast_to(tf.where(duration_sec > 0, duration_sec, 3e38), (batch,))
    mask = tf.sequence_mask(num_steps, length, tf.float32)
    energy = tf.reduce_sum(tf.abs(feats), -1) * mask
    step = tf.range(tf.cast(length, tf.float32))
    centre = tf.reduce_sum(energy * step, -1) / (tf.reduce_sum(energy, -1) + 1e-6)
    level = tf.reduce_sum(feats * mask[..., None], (1, 2)) / tf.cast(num_steps, tf.float32)
    half = tf.range(1.0, NUM_DETECTIONS + 1.0)
    ends = tf.stack([centre[:, None] - half, centre[:, None] + half], -1) / fps[:, None, None]
    count = NUM_DETECTIONS - num_steps % 2
    found = tf.sequence_mask(count, NUM_DETECTIONS)
    classes = (num_steps[:, None] + tf.range(NUM_DETECTIONS)) % 3
    return {
        "detection_segments": tf.where(
            found[..., None], tf.clip_by_value(ends, 0.0, limit[:, None, None]), 0.0
        ),
        "detection_scores": tf.where(found, tf.sigmoid(level)[:, None] / half, 0.0),
        "detection_classes": tf.where(found, classes, 0),
        "num_detections": count,
    }
