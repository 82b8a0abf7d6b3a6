"""ActionFormer: backbone, neck and heads wired, its training loss and its detections."""

import dataclasses

import keras
from absl import logging
from keras import ops

from keras_actionformer.arguments import (
    check_agreement,
    check_class_names,
    check_ranges,
    from_fields,
    regression_pairs,
)
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.data.windows import check_windows
from keras_actionformer.detection.detector import Detector
from keras_actionformer.detection.inputs import check_durations, one_each, open_sequences
from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.detection.tiles import DEFAULT_STEPS, tile_length, why_not_tiles
from keras_actionformer.errors import UserError
from keras_actionformer.network.backbone import Backbone
from keras_actionformer.network.heads import Heads
from keras_actionformer.network.losses import PositivesAverage, detection_losses, positive_points
from keras_actionformer.network.neck import Neck
from keras_actionformer.network.padding import PadToStride
from keras_actionformer.network.points import level_strides, make_points, point_mask
from keras_actionformer.network.targets import assign_targets


class _BuiltInPresets:
    """A class attribute that is read when it is asked for."""

    def __get__(self, instance, owner):
        from keras_actionformer.presets.presets import list_presets

        return list_presets()


@keras.saving.register_keras_serializable("keras_actionformer")
class ActionFormer(keras.Model):
    """Temporal action localization with a local-attention transformer, in one pass.

    Zhang, Wu, Li: "ActionFormer: Localizing Moments of Actions with Transformers", ECCV 2022.
    Arguments carry the names of the reference's configuration files.

    A call gives raw outputs, `fit` trains, `detect` gives detections in seconds.

    Example:

    ```python
    model = ActionFormer(input_dim=300, num_classes=12, embd_dim=128, fpn_dim=128, head_dim=128,
                         grid=FeatureGrid(fps=50, stride_frames=25, window_frames=50))
    detections = model.detect(np.zeros((500, 300), "float32"))
    ```

    Args:
      input_dim: int, channels of a feature, or one int a stream.
      num_classes: int, K.
      backbone_type: `"convTransformer"` or `"conv"`.
      backbone_arch: three ints: embedding convolutions, stem blocks, downsampling blocks.
      scale_factor: int, stride between levels, 2 or 4.
      embd_dim: int, width D; one int a stream when there are several.
      embd_kernel_size: odd int.
      embd_with_ln: bool.
      n_head: int.
      n_mha_win_size: int, attention window in steps (-1: global), or one int a level.
      use_abs_pe: bool, sinusoidal position embedding.
      use_rel_pe: bool, relative position bias (local windows).
      fpn_type: `"identity"` or `"fpn"`.
      fpn_dim: int; must equal D for `"identity"`.
      fpn_with_ln: bool.
      fpn_start_level: int, first level that has points.
      head_dim, head_num_layers: ints.
      head_kernel_size: odd int.
      head_with_ln: bool.
      regression_range: one (min, max) pair in steps for each level that has points; None gives
        (0, 4), (4, 8), ..., (2^L, 10000).
      max_seq_len: int, training length in steps.
      force_upsampling: bool, every sequence is resized to `max_seq_len` steps, in training and by
        `detect` (ActivityNet's fixed length).
      input_dropout: float, share of the input channels that a training step drops, in a whole
        sequence.
      dropout, droppath: floats.
      cls_prior_prob: float, probability every class starts from.
      head_empty_cls: ids of classes without training instances.
      center_sample: `"radius"` or `"none"`.
      center_sample_radius: float, in strides.
      loss_weight: float, weight of the regression loss; 0 or less balances the two losses.
      label_smoothing: float.
      init_loss_norm: float, positives per batch the running average starts from.
      postprocess: `PostProcess`, or a dict of its fields.
      grid: `FeatureGrid` or a dict of its fields: timing of the features the model is trained
        on. `detect` needs one, here or as an argument.
      class_names: K strings, or None.

    Call: `{"feats": (B, T, C) float, "mask": (B, T) bool} -> {"logits": (B, P, K), "offsets":
    (B, P, 2)}` for any T >= 1; P counts the points of all levels for T padded to a multiple of
    the coarsest stride. Offsets are in strides of a point's level.

    Raises:
      UserError: an argument is wrong or contradicts another; the message says which.
    """

    presets = _BuiltInPresets()  # what `list_presets()` returns

    def __init__(
        self,
        input_dim,
        num_classes,
        *,
        backbone_type="convTransformer",
        backbone_arch=(2, 2, 5),
        scale_factor=2,
        embd_dim=512,
        embd_kernel_size=3,
        embd_with_ln=True,
        n_head=4,
        n_mha_win_size=19,
        use_abs_pe=False,
        use_rel_pe=False,
        fpn_type="identity",
        fpn_dim=512,
        fpn_with_ln=True,
        fpn_start_level=0,
        head_dim=512,
        head_kernel_size=3,
        head_num_layers=3,
        head_with_ln=True,
        regression_range=None,
        max_seq_len=2304,
        force_upsampling=False,
        input_dropout=0.0,
        dropout=0.0,
        droppath=0.1,
        cls_prior_prob=0.01,
        head_empty_cls=(),
        center_sample="radius",
        center_sample_radius=1.5,
        loss_weight=1.0,
        label_smoothing=0.0,
        init_loss_norm=2000.0,
        postprocess=None,
        grid=None,
        class_names=None,
        **kwargs,
    ):
        # === Arguments ===
        arguments = {
            "input_dim": input_dim,
            "num_classes": num_classes,
            "backbone_type": backbone_type,
            "backbone_arch": backbone_arch,
            "scale_factor": scale_factor,
            "embd_dim": embd_dim,
            "embd_kernel_size": embd_kernel_size,
            "embd_with_ln": embd_with_ln,
            "n_head": n_head,
            "n_mha_win_size": n_mha_win_size,
            "use_abs_pe": use_abs_pe,
            "use_rel_pe": use_rel_pe,
            "fpn_type": fpn_type,
            "fpn_dim": fpn_dim,
            "fpn_with_ln": fpn_with_ln,
            "fpn_start_level": fpn_start_level,
            "head_dim": head_dim,
            "head_kernel_size": head_kernel_size,
            "head_num_layers": head_num_layers,
            "head_with_ln": head_with_ln,
            "max_seq_len": max_seq_len,
            "force_upsampling": force_upsampling,
            "input_dropout": input_dropout,
            "dropout": dropout,
            "droppath": droppath,
            "cls_prior_prob": cls_prior_prob,
            "head_empty_cls": head_empty_cls,
            "center_sample": center_sample,
            "center_sample_radius": center_sample_radius,
            "loss_weight": loss_weight,
            "label_smoothing": label_smoothing,
            "init_loss_norm": init_loss_norm,
        }
        config = check_ranges(arguments)
        num_levels = config["backbone_arch"][2] + 1
        strides = level_strides(num_levels, config["scale_factor"], config["fpn_start_level"])
        config["regression_range"] = regression_pairs(regression_range, len(strides))
        check_agreement(config, strides)
        postprocess = from_fields("postprocess", postprocess, PostProcess)
        grid = from_fields("grid", grid, FeatureGrid)
        class_names = check_class_names(class_names, config["num_classes"])

        # === Layers ===
        dtype = kwargs.pop("dtype", None)
        pad = PadToStride(strides[-1], dtype=dtype, name="pad")
        backbone = Backbone(
            backbone_type=config["backbone_type"],
            arch=config["backbone_arch"],
            input_dim=config["input_dim"],
            embd_dim=config["embd_dim"],
            embd_kernel_size=config["embd_kernel_size"],
            embd_with_ln=config["embd_with_ln"],
            scale_factor=config["scale_factor"],
            n_head=config["n_head"],
            n_mha_win_size=config["n_mha_win_size"],
            use_abs_pe=config["use_abs_pe"],
            use_rel_pe=config["use_rel_pe"],
            max_seq_len=config["max_seq_len"],
            input_dropout=config["input_dropout"],
            dropout=config["dropout"],
            droppath=config["droppath"],
            dtype=dtype,
            name="backbone",
        )
        neck = Neck(
            fpn_type=config["fpn_type"],
            dim=config["fpn_dim"],
            with_ln=config["fpn_with_ln"],
            start_level=config["fpn_start_level"],
            scale_factor=config["scale_factor"],
            dtype=dtype,
            name="neck",
        )
        heads = Heads(
            num_classes=config["num_classes"],
            num_levels=len(strides),
            dim=config["head_dim"],
            num_layers=config["head_num_layers"],
            kernel_size=config["head_kernel_size"],
            with_ln=config["head_with_ln"],
            cls_prior_prob=config["cls_prior_prob"],
            empty_classes=config["head_empty_cls"],
            dtype=dtype,
            name="heads",
        )

        # === Functional model ===
        input_dim = config["input_dim"]
        channels = input_dim if isinstance(input_dim, int) else sum(input_dim)
        feats = keras.Input((None, channels), name="feats")
        mask = keras.Input((None,), dtype="bool", name="mask")
        levels, masks = backbone(*pad(feats, mask))
        logits, offsets = heads(neck(levels, masks), masks[config["fpn_start_level"] :])
        super().__init__(
            inputs={"feats": feats, "mask": mask},
            outputs={"logits": logits, "offsets": offsets},
            **kwargs,
        )

        # === Training ===
        self.positives_average = PositivesAverage(
            config["init_loss_norm"], name="positives_average"
        )
        self.positives_average.build(())
        self.loss_trackers = [
            keras.metrics.Mean(name=name)
            for name in ("cls_loss", "reg_loss", "zero_starts", "zero_ends")
        ]

        # === Config ===
        self.config = config
        self.strides = strides
        self.postprocess = postprocess or PostProcess()
        self.grid = grid
        self.class_names = class_names
        self.provenance = {}  # what a preset tells of its origin, for when it is saved again
        # Not through __setattr__: Keras would count these graphs as layers of this model.
        self.__dict__["_detectors"] = {}

    @property
    def network_weights(self):
        """Variables of the network, frozen ones included, without the loss normalizer."""
        normalizer = self.positives_average.value
        return [variable for variable in self.weights if variable is not normalizer]

    def points(self, num_steps):
        """Points of a sequence of `num_steps` (padded) steps, `(P, 4)`; see `make_points`."""
        return make_points(num_steps, self.strides, self.config["regression_range"])

    # ---- training -------------------------------------------------------------------------

    @property
    def recompute(self):
        """bool, whether training computes the insides of blocks and heads twice.

        It then keeps only their inputs for the gradient: less memory for a quarter more time.
        To be set before `compile`; a model with dropout cannot, for it would draw twice, too.
        """
        return self.get_layer("heads").recompute

    @recompute.setter
    def recompute(self, value):
        if value and self.config["dropout"]:
            raise UserError(
                f"recompute needs dropout=0, but dropout={self.config['dropout']}: what is "
                "computed again would drop something else."
            )
        backbone = self.get_layer("backbone")
        for layer in (*backbone.stem, *backbone.branch, self.get_layer("heads")):
            layer.recompute = value

    def compile(self, optimizer="rmsprop", **kwargs):
        """As `keras.Model.compile`, without a loss: `compute_loss` has it."""
        super().compile(optimizer, **kwargs)
        # Now and not inside the traced step: averages start from the values of the weights.
        self.optimizer.build(self.trainable_variables)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Assigns targets and sums the losses (paper, eq. 7).

        Args:
          x: {"feats" (B, T, C), "mask" (B, T)}.
          y: {"segments" (B, N, 2) in grid steps, "labels" (B, N) int, -1 = padding}.
          y_pred: {"logits", "offsets"}, the call's outputs.

        Returns:
          Scalar loss.
        """
        config = self.config
        _, mask = self.get_layer("pad")(x["feats"], x["mask"])
        valid = point_mask(mask, self.strides)
        cls_targets, reg_targets = assign_targets(
            self.points(ops.shape(mask)[1]),
            y["segments"],
            y["labels"],
            config["num_classes"],
            config["center_sample"],
            config["center_sample_radius"],
        )
        num_positive = ops.sum(ops.cast(positive_points(cls_targets, valid), "float32"))
        cls_loss, reg_loss = detection_losses(
            cls_targets,
            reg_targets,
            y_pred["logits"],
            y_pred["offsets"],
            valid,
            self.positives_average(num_positive, training=training),
            config["label_smoothing"],
        )
        weight = config["loss_weight"]
        if weight <= 0:
            weight = ops.stop_gradient(cls_loss) / ops.maximum(ops.stop_gradient(reg_loss), 0.01)

        is_zero = ops.cast(y_pred["offsets"] <= 0, "float32")
        is_zero = is_zero * ops.cast(ops.expand_dims(valid, -1), "float32")
        zeros = ops.sum(is_zero, axis=(0, 1)) / ops.sum(ops.cast(valid, "float32"))
        for tracker, value in zip(
            self.loss_trackers, (cls_loss, reg_loss, zeros[0], zeros[1]), strict=True
        ):
            tracker.update_state(value)
        return cls_loss + weight * reg_loss

    # ---- inference ------------------------------------------------------------------------

    def detect(
        self,
        feats,
        fps=None,
        duration_sec=None,
        batch_size=8,
        max_detections=None,
        score_threshold=None,
        grid=None,
        window_steps=None,
        window_overlap=0.5,
        tile_steps=None,
        jit_compile=None,
        verbose=0,
    ):
        """Detects actions in one sequence of features or in many.

        Sequences of any length run in batches, padded only as far as the network needs; neither
        batching nor order changes a result. (On TensorFlow, the first batch of a model runs
        operation by operation: tracing takes longer than a detection. Its scores may differ from
        later ones in the last digit.)

        Very long ones run in tiles, which overlap by all that the network sees around a point, so
        that the detections are those of one pass, in memory that does not grow with the length: a
        file opened by `np.load(path, mmap_mode="r")` is read tile by tile. This needs local
        attention and no position embedding. `window_steps` is another thing: windows as they were
        in training, in each of which the network sees no neighbour; their candidates are put
        together before suppression.

        Args:
          feats: (T, C) float array: one sequence; or a list, generator or `tf.data.Dataset` of
            such arrays of any lengths. An array on disk (a memory map, a data set of `h5py`) is
            read some steps at a time.
          fps: float, or one a sequence: frames per second of the video, where it differs from
            the model's timing.
          duration_sec: float, or one a sequence: detections are clipped to [0, duration].
          batch_size: int, sequences per batch.
          max_detections: int, most detections of a sequence; default from `postprocess`.
          score_threshold: float, drops detections below it; default: none are dropped here.
          grid: `FeatureGrid` of these features (or a dict of its fields), where it differs from
            the model's.
          window_steps: int, length of the windows that longer sequences are cut to (see
            `sliding_windows`), or None for whole sequences. Not for models that resize.
          window_overlap: float in [0, 1), the part of a window that the next one repeats.
          tile_steps: int, length of the tiles that longer sequences run in: it sets the memory
            that `detect` takes, and changes no result. None: 16384 steps, where the model can run
            in tiles, or whole sequences.
          jit_compile: bool, whether XLA compiles the detector: some seconds for each length that
            is met, rounded up by at most an eighth, and then less for each sequence. None: as
            Keras decides, which is on a GPU and with JAX.
          verbose: 0, or Keras' `verbose` (1 or 2) of a progress bar over the tiles of a sequence.

        Returns:
          `Detections`, best first; a list of them, in the order of the input, for many.

        Raises:
          UserError: features of a wrong shape, empty or not finite; no timing known; `tile_steps`
            too short or for a model that cannot run in tiles.
        """
        sequences, single = open_sequences(feats, self.input["feats"].shape[-1])
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, but is {batch_size}.")
        grid = from_fields("grid", grid, FeatureGrid) or self.grid
        if grid is None:
            raise UserError(
                "The model does not know the timing of its features: pass "
                "grid=FeatureGrid(fps=..., stride_frames=..., window_frames=...)."
            )
        grids = [grid.with_fps(rate) for rate in one_each("fps", fps, len(sequences))]
        if any(grid.fps is None for grid in grids):
            raise UserError(
                "The model was trained on videos of several frame rates: pass fps, the frames a "
                "second of this one."
            )
        if window_steps is not None:
            check_windows(window_steps, window_overlap)
            if self.config["force_upsampling"]:
                raise UserError(
                    "The model resizes sequences to one length (force_upsampling), which leaves no "
                    "windows to cut: leave out window_steps."
                )
            if tile_steps is not None:
                raise UserError("Give either window_steps or tile_steps: windows need no tiles.")
        else:
            tile_steps = self._tile_length(tile_steps, max(map(len, sequences), default=0))
        if self.config["force_upsampling"]:
            steps = self.config["max_seq_len"]
            grids = [g.resize(len(x), steps) for g, x in zip(grids, sequences, strict=True)]
        durations_sec = one_each("duration_sec", duration_sec, len(sequences))
        check_durations(durations_sec)
        results = self.detector(max_detections, jit_compile).detect(
            sequences,
            grids,
            durations_sec,
            batch_size,
            window_steps,
            window_overlap,
            tile_steps,
            verbose,
        )
        if max_detections is not None:  # suppression has done it, but for the method "none"
            results = [detections[:max_detections] for detections in results]
        if score_threshold is not None:
            results = [detections.filter(min_score=score_threshold) for detections in results]
        return results[0] if single else results

    def _tile_length(self, tile_steps, longest):
        """Steps of a tile for sequences of up to `longest` steps, or None for one pass."""
        steps = tile_length(self.config, tile_steps)
        if steps is None and longest > DEFAULT_STEPS:
            logging.warning(
                "A sequence of %d steps runs in one pass, which takes memory for all of it: the "
                "model cannot run in tiles, because %s.",
                longest, why_not_tiles(self.config),
            )  # fmt: skip
        return steps

    def detector(self, max_detections=None, jit_compile=None):
        """Returns the `Detector` that `detect` uses; built once for each pair of arguments."""
        settings = self.postprocess
        if max_detections is not None:
            settings = dataclasses.replace(settings, max_seg_num=max_detections)
        key = settings, jit_compile
        if key not in self._detectors:
            self._detectors[key] = Detector(self, settings, jit_compile)
        return self._detectors[key]

    # ---- presets --------------------------------------------------------------------------

    @classmethod
    def from_preset(
        cls, preset, num_classes=None, load_weights=True, *, ema=True, config=None, **overrides
    ):
        """Opens a model with its timing, class names and post-processing.

        Examples:

        ```python
        model = ActionFormer.from_preset("simulated")               # comes with this package
        model = ActionFormer.from_preset("ckpt/thumos_i3d_reproduce")  # the reference's own files
        model = ActionFormer.from_preset("hf://someone/kitchen", num_classes=["pour", "cut"])
        ```

        Args:
          preset: str or path: a built-in name (`list_presets`), a preset's folder, the folder of
            a training run, `hf://ORGANIZATION/NAME` or `hf://ORGANIZATION/NAME@REVISION` (needs
            the extra `hub`), or a checkpoint of the reference: a `.pth.tar` file, or the folder
            of its experiment, whose last epoch is taken. No code in a checkpoint is run.
          num_classes: int or sequence of class names: replaces the last layer of the
            classification head by a fresh one for these classes, and keeps all other weights.
            Also when the number is the same: the classes are taken for other ones.
          load_weights: bool, False gives the architecture with fresh weights.
          ema: bool, of a reference checkpoint take the averaged weights, not the last ones.
          config: str or path, for a reference checkpoint without a `config.txt` or YAML beside
            it: where that is, or the built-in name of its architecture.
          **overrides: arguments of `ActionFormer` in place of the preset's; a dict for
            `postprocess` or `grid` changes the fields it names.

        Returns:
          `ActionFormer`.

        Raises:
          UserError: there is no such preset, its weights are not to be had here, or a file is
            damaged, not complete, of another architecture, or would run code.
        """
        from keras_actionformer.presets.presets import from_preset  # which builds on this class

        return from_preset(cls, preset, num_classes, load_weights, ema, config, overrides)

    def save_to_preset(
        self,
        folder,
        description="",
        feature_encoder=None,
        licence=None,
        source=None,
        scores=None,
    ):
        """Saves weights, architecture, timing, class names and post-processing as a preset.

        The folder appears, or changes, in one step: an interrupted call leaves an old preset as
        it was.

        Args:
          folder: str or path, a new folder or that of a preset to replace.
          description: str, one sentence.
          feature_encoder: str, what computed the features. This and the next two are, by default,
            those of the preset that the model was opened from.
          licence: str, under which the weights may be used.
          source: str, where the weights come from.
          scores: dict, e.g. mAP in percent by tIoU: `{"0.5": 70.9, "average": 66.8}`.

        Raises:
          UserError: the folder holds other files or is the current one, a weight is NaN or
            infinite, or an argument is nothing that JSON can hold.
        """
        from keras_actionformer.presets.presets import save_to_preset

        origin = {"feature_encoder": feature_encoder, "licence": licence, "source": source}
        given = {key: value for key, value in origin.items() if value is not None}
        save_to_preset(self, folder, description, given, scores or {})

    # ---- export ---------------------------------------------------------------------------

    def export_detector(
        self,
        folder,
        format="saved_model",
        *,
        precision="float32",
        raw=False,
        batch_size=None,
        num_steps=None,
        feats=None,
    ):
        """Exports what `detect` does, to run without this library and without Keras.

        Features of sequences, padded with anything, go in with their lengths, frame rates and
        durations; `detection_segments` (B, M, 2) in seconds, `detection_scores` (B, M),
        `detection_classes` (B, M) and `num_detections` (B,) come out, best first, whatever is in
        the batch besides. `manifest.json` describes inputs, outputs, timing, classes and files.

        The export is run in a process that cannot import Keras and compared with `detect`; one
        that disagrees is not left behind.

        Args:
          folder: str or path. A SavedModel becomes its next version (`folder/1`, `folder/2`, ...),
            as TF Serving wants it; the other formats replace what was exported there before.
          format: `"saved_model"`, `"tflite"` (extra `tflite`) or `"onnx"` (extra `onnx`).
          precision: of the weights, for TFLite: `"float32"`, `"float16"`, or `"int8"`, which
            quantizes activations, too, as it runs.
          raw: bool, export the network alone: `logits`, `offsets` and `points`. (A SavedModel has
            it as its signature `raw` anyway.)
          batch_size, num_steps: ints, to export for so many sequences, of so many steps; None
            leaves it open.
          feats: list of (T, C) arrays to check the export on; None makes some up.

        Returns:
          (`pathlib.Path` of the folder written, the manifest as a dict).

        Raises:
          UserError: an argument is wrong, an extra is missing, `folder` holds other things, or the
            export gives other detections than `detect`.
        """
        from keras_actionformer.deploy.export import export_detector  # which imports TensorFlow

        return export_detector(
            self,
            folder,
            format,
            precision=precision,
            raw=raw,
            batch_size=batch_size,
            num_steps=num_steps,
            feats=feats,
        )

    # ---- serialization --------------------------------------------------------------------

    def get_config(self):
        """Everything but the dtype: weights are float32 under every policy, and a model that is
        loaded computes in Keras' current policy, whatever it was trained in."""
        return {
            **self.config,
            "postprocess": dataclasses.asdict(self.postprocess),
            "grid": self.grid and dataclasses.asdict(self.grid),
            "class_names": list(self.class_names),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)
