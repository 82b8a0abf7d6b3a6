"""ActionFormer: backbone, neck and heads wired, its training loss and its detections."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self

import keras
import numpy.typing as npt

from keras_actionformer.checks import check_class_names, from_fields
from keras_actionformer.data.encoder_records import check_record
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.detection.detections import Detections
from keras_actionformer.detection.detector import Detector
from keras_actionformer.detection.detectors import Detectors, detect_with, raw_with
from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.detection.raw_outputs import RawOutputs
from keras_actionformer.detection.thresholds import ScoreThreshold, Thresholds, check_thresholds
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.network.backbone import Backbone
from keras_actionformer.network.heads import Heads
from keras_actionformer.network.neck import Neck
from keras_actionformer.network.padding import PadToStride
from keras_actionformer.network.points import points_of
from keras_actionformer.network.trainable import TrainableNetwork
from keras_actionformer.quiet import look_for_devices


@keras.saving.register_keras_serializable("keras_actionformer")
class ActionFormer(TrainableNetwork):
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
      input_dim, num_classes, ... init_loss_norm: fields of `Architecture`, which explains them.
      postprocess: `PostProcess`, or a dict of its fields.
      grid: `FeatureGrid` or a dict of its fields: timing of its features; `detect` needs one.
      class_names: K strings, or None.
      thresholds: `Thresholds` or a dict of its fields: the least scores it recommends; or None.
      encoder: dict, what computed the features it is trained on (`encoder` of the .json files that
        `extract` writes beside features) and, as `sampling`, which frames they saw; or None.

    Call: `{"feats": (B, T, C) float, "mask": (B, T) bool} -> {"logits": (B, P, K), "offsets":
    (B, P, 2)}` for any T >= 1; P counts the points of all levels for T padded to a multiple of
    the coarsest stride. Offsets are in strides of a point's level.

    Raises:
      UserError: an argument is wrong or contradicts another; the message says which.
    """

    def __init__(
        self,
        input_dim: int | Sequence[int],
        num_classes: int,
        *,
        backbone_type: Literal["convTransformer", "conv"] = Architecture.backbone_type,
        backbone_arch: Sequence[int] = Architecture.backbone_arch,
        scale_factor: int = Architecture.scale_factor,
        embd_dim: int | Sequence[int] = Architecture.embd_dim,
        embd_kernel_size: int = Architecture.embd_kernel_size,
        embd_with_ln: bool = Architecture.embd_with_ln,
        n_head: int = Architecture.n_head,
        n_mha_win_size: int | Sequence[int] = Architecture.n_mha_win_size,
        use_abs_pe: bool = Architecture.use_abs_pe,
        use_rel_pe: bool = Architecture.use_rel_pe,
        fpn_type: Literal["identity", "fpn", "full_fpn"] = Architecture.fpn_type,
        fpn_dim: int = Architecture.fpn_dim,
        fpn_with_ln: bool = Architecture.fpn_with_ln,
        fpn_start_level: int = Architecture.fpn_start_level,
        head_dim: int = Architecture.head_dim,
        head_kernel_size: int = Architecture.head_kernel_size,
        head_num_layers: int = Architecture.head_num_layers,
        head_with_ln: bool = Architecture.head_with_ln,
        conv_ln_epsilon: float = Architecture.conv_ln_epsilon,
        mask_after_relu: bool = Architecture.mask_after_relu,
        points_at_centers: bool = Architecture.points_at_centers,
        regression_range: Sequence[Sequence[float]] | None = Architecture.regression_range,
        max_seq_len: int = Architecture.max_seq_len,
        force_upsampling: bool = Architecture.force_upsampling,
        resize_method: Literal["linear", "roi_align"] = Architecture.resize_method,
        resize_longer: bool = Architecture.resize_longer,
        input_dropout: float = Architecture.input_dropout,
        dropout: float = Architecture.dropout,
        droppath: float = Architecture.droppath,
        cls_prior_prob: float = Architecture.cls_prior_prob,
        head_empty_cls: Sequence[int] = Architecture.head_empty_cls,
        center_sample: Literal["radius", "none"] = Architecture.center_sample,
        center_sample_radius: float = Architecture.center_sample_radius,
        point_classes: Literal["shortest", "all"] = Architecture.point_classes,
        loss_weight: float = Architecture.loss_weight,
        label_smoothing: float = Architecture.label_smoothing,
        init_loss_norm: float = Architecture.init_loss_norm,
        postprocess: PostProcess | dict[str, Any] | None = None,
        grid: FeatureGrid | dict[str, Any] | None = None,
        class_names: Sequence[str] | None = None,
        thresholds: Thresholds | dict[str, Any] | None = None,
        encoder: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        given = locals()  # the arguments by name: nothing else is local yet
        # === Arguments ===
        settings = {field.name: given[field.name] for field in dataclasses.fields(Architecture)}
        architecture = Architecture(**settings)
        postprocess = from_fields("postprocess", postprocess, PostProcess) or PostProcess()
        grid = from_fields("grid", grid, FeatureGrid)
        class_names = check_class_names(class_names, architecture.num_classes)
        thresholds = check_thresholds(thresholds, architecture.num_classes)
        encoder = check_record(encoder)
        look_for_devices()

        # === Functional model ===
        dtype = kwargs.pop("dtype", None)
        pad = PadToStride(architecture.coarsest_stride, dtype=dtype, name="pad")
        backbone = Backbone(architecture, dtype=dtype, name="backbone")
        neck = Neck(architecture, dtype=dtype, name="neck")
        heads = Heads(architecture, dtype=dtype, name="heads")
        feats = keras.Input((None, architecture.channels), name="feats")
        mask = keras.Input((None,), dtype="bool", name="mask")
        levels, masks = backbone(*pad(feats, mask))
        logits, offsets = heads(neck(levels, masks), masks[architecture.fpn_start_level :])
        super().__init__(
            inputs={"feats": feats, "mask": mask},
            outputs={"logits": logits, "offsets": offsets},
            **kwargs,
        )
        if dtype is not None:  # else Keras' own; `compile` scales the losses of mixed_float16
            self.dtype_policy = dtype

        # === Training ===
        self._add_losses(architecture.init_loss_norm)

        # === What it knows of itself ===
        self.architecture = architecture
        self.postprocess: PostProcess = postprocess
        self.grid: FeatureGrid | None = grid
        self.class_names: tuple[str, ...] = class_names
        self.thresholds: Thresholds | None = thresholds
        self.encoder: dict[str, Any] | None = encoder
        self.provenance: dict[str, Any] = {}  # of a preset, for when it is saved again
        # Not through __setattr__: Keras would count these graphs as layers of this model.
        self.__dict__.update(_detectors=Detectors())

    @property
    def config(self) -> dict[str, Any]:
        """The fields of `architecture` as JSON has them: a dict of numbers, strings and lists."""
        return self.architecture.to_dict()

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the levels that have points, in steps."""
        return self.architecture.strides

    def points(self, num_steps: int) -> Any:
        """Points of a sequence of `num_steps` (padded) steps, `(P, 4)`; see `make_points`."""
        return points_of(self.architecture, num_steps)

    def padded_outputs(self, feats: Any, mask: Any, present: Any) -> tuple[Any, Any]:
        """Raw outputs of features that are padded already: logits (B, P, K), offsets (B, P, 2).

        Args:
          feats: (B, T, C) float, T a multiple of the coarsest stride.
          mask: (B, T) bool, steps that are valid.
          present: (B, T) bool, steps that the reference would have (see network/padding.py).
        """
        backbone, neck, heads = (self.get_layer(name) for name in ("backbone", "neck", "heads"))
        levels, masks = backbone(feats, mask, present)
        present = [present[:, ::stride] for stride in self.strides]
        return heads(neck(levels, masks), masks[self.architecture.fpn_start_level :], present)

    # ---- inference ------------------------------------------------------------------------

    def detect(
        self,
        feats: npt.ArrayLike | Iterable[npt.ArrayLike],
        fps: float | Sequence[float] | None = None,
        duration_sec: float | Sequence[float] | None = None,
        batch_size: int = 8,
        max_detections: int | None = None,
        score_threshold: ScoreThreshold | None = None,
        grid: FeatureGrid | dict[str, Any] | None = None,
        window_steps: int | None = None,
        window_overlap: float | None = None,
        tile_steps: int | None = None,
        jit_compile: bool | None = None,
        verbose: int = 0,
    ) -> Detections | Any:  # Any is the list for many sequences, which types cannot tell apart
        """Detects actions in one sequence of features or in many.

        Sequences of any length run in batches, padded only as far as the network needs; in any
        batch and order they have the same detections, but for the last digits of scores and times
        (some 1e-7 of a score), as sums are made in another order. (On TensorFlow so are those of a
        model's first eight batches, which run untraced: tracing takes as long.)

        Very long ones run in tiles, which overlap by all that the network sees around a point, so
        that the detections are those of one pass, in memory that does not grow with the length: a
        file opened by `np.load(path, mmap_mode="r")` is read tile by tile. This needs local
        attention and no position embedding. `window_steps` is another thing: windows as they were
        in training, in each of which the network sees no neighbour; their candidates are put
        together before suppression.

        Args:
          feats: (T, C) float array: one sequence; or a list, generator or `tf.data.Dataset` of
            such arrays of any lengths, which is read to its end first. An array on disk (a
            memory map, a data set of `h5py`) is read some steps at a time.
          fps: float, or one a sequence: frames per second of the video, where it differs from
            the model's timing.
          duration_sec: float, or one a sequence: detections are clipped to [0, duration].
          batch_size: int, sequences per batch.
          max_detections: int, most detections of a sequence; default from `postprocess`.
          score_threshold: drops detections below it, see `Detections.filter`; None: none.
          grid: `FeatureGrid` of these features (or a dict of its fields), where it differs from
            the model's.
          window_steps: int, length of the windows that longer sequences are cut to (see
            `sliding_windows`), or None for what `postprocess` says: whole sequences, by default.
            Not for models that resize.
          window_overlap: float in [0, 1), the part of a window that the next one repeats, or None.
          tile_steps: int, length of the tiles that longer sequences run in: it sets the memory
            that `detect` takes, and changes no more of a result than batches do. None: 16384
            steps, where the model can run in tiles, or whole sequences.
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
        return detect_with(
            self, feats, fps, duration_sec, batch_size, max_detections, score_threshold, grid,
            window_steps, window_overlap, tile_steps, jit_compile, verbose,
        )  # fmt: skip

    def raw(
        self,
        feats: npt.ArrayLike | Iterable[npt.ArrayLike],
        fps: float | Sequence[float] | None = None,
        grid: FeatureGrid | dict[str, Any] | None = None,
        duration_sec: float | Sequence[float] | None = None,
    ) -> RawOutputs | Any:  # Any is the list for many sequences, as for `detect`
        """Tells what the network says at every point, of which `detect` chooses.

        Args:
          feats, fps, grid: as for `detect`; long sequences run in tiles here, too.
          duration_sec: as for `detect`; for a model that shares it out (`spread_duration`).

        Returns:
          `RawOutputs` in seconds; a list of them, in the order of the input, for many.

        Raises:
          UserError: features of a wrong shape, empty or not finite; no timing known.
        """
        return raw_with(self, feats, fps, grid, duration_sec)

    def detector(
        self, max_detections: int | None = None, jit_compile: bool | None = None
    ) -> Detector:
        """Returns the `Detector` that `detect` uses.

        It is built once for each pair of arguments, and again when layers were replaced, quantized,
        given LoRA weights or another dtype policy.
        """
        return self._detectors.get(self, max_detections, jit_compile)

    # ---- presets --------------------------------------------------------------------------

    @classmethod
    def from_preset(
        cls,
        preset: str | os.PathLike[str],
        num_classes: int | Sequence[str] | None = None,
        load_weights: bool = True,
        *,
        ema: bool = True,
        config: str | os.PathLike[str] | None = None,
        **overrides: Any,
    ) -> Self:
        """Opens a model with its timing, class names and post-processing.

        Examples:

        ```python
        model = ActionFormer.from_preset("simulated")               # comes with this package
        model = ActionFormer.from_preset("ckpt/thumos_i3d_reproduce")  # the reference's own files
        model = ActionFormer.from_preset("hf://someone/kitchen", num_classes=["pour", "cut"])
        model = ActionFormer.from_preset("simulated", num_classes=["pour", "cut"], input_dim=512)
        ```

        Args:
          preset: str or path: a built-in name (`list_presets`), a preset's folder, the folder of
            a training run, `hf://ORGANIZATION/NAME` or `hf://ORGANIZATION/NAME@REVISION` (needs
            the extra `hub`), or a checkpoint of the reference or of OpenTAD: a `.pth.tar` or `.pth`
            file, or the folder of its experiment, whose last epoch is taken. No code is run. All
            but the last may be at an address, `s3://bucket/kitchen` (extra `remote`).
          num_classes: int or sequence of class names: replaces the last layer of the
            classification head by a fresh one for these classes, and keeps all other weights. A
            class of the same name as one of the preset keeps what that has learnt; without names
            (here or as `class_names`) all are taken for other ones, also when the number is the
            same.
          load_weights: bool, False gives the architecture with fresh weights.
          ema: bool, of a reference checkpoint take the averaged weights, not the last ones.
          config: str or path, for a checkpoint without a `config.txt`, YAML or `log.json` beside
            it: where that is, or the built-in name of its architecture.
          **overrides: arguments of `ActionFormer` in place of the preset's; a dict for
            `postprocess` or `grid` changes the fields it names. Another `input_dim` replaces the
            embedding of the features by a fresh one.

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
        folder: str | os.PathLike[str],
        description: str = "",
        feature_encoder: str | None = None,
        licence: str | None = None,
        source: str | None = None,
        scores: Mapping[str, float] | None = None,
        pictures: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        """Saves weights, architecture, timing, class names and post-processing as a preset.

        The folder appears, or changes, in one step: an interrupted call leaves an old preset as
        it was. Its `README.md` tells people what the preset is.

        Args:
          folder: str or path, a new folder or that of a preset to replace; or an address (extra
            `remote`), where files appear one by one.
          description: str, one sentence.
          feature_encoder: str, what computed the features. This and the next two are, by default,
            those of the preset that the model was opened from.
          licence: str, under which the weights may be used.
          source: str, where the weights come from.
          scores: dict, e.g. mAP in percent by tIoU: `{"0.5": 70.9, "average": 66.8}`.
          pictures: paths of pictures for its `README.md`, such as `plot_timeline` writes.

        Raises:
          UserError: the folder holds other files or is the current one, a weight is NaN or
            infinite, or an argument is nothing that JSON can hold, or no picture.
        """
        from keras_actionformer.presets.presets import save_to_preset

        origin = {"feature_encoder": feature_encoder, "licence": licence, "source": source}
        given = {key: value for key, value in origin.items() if value is not None}
        save_to_preset(self, folder, description, given, scores or {}, pictures)

    # ---- export ---------------------------------------------------------------------------

    def export_detector(
        self,
        folder: str | os.PathLike[str],
        format: Literal["saved_model", "tflite", "onnx"] = "saved_model",
        *,
        precision: Literal["float32", "float16", "int8"] = "float32",
        calibration_feats: Sequence[npt.ArrayLike] | None = None,
        raw: bool = False,
        batch_size: int | None = None,
        num_steps: int | None = None,
        feats: Sequence[npt.ArrayLike] | None = None,
        verbose: int = 0,
    ) -> tuple[pathlib.Path, dict[str, Any]]:
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
            quantizes activations of products, too: by their range in each call or, with
            `calibration_feats`, by one that is fixed, as some processors want it.
          calibration_feats: list of (T, C) arrays, a dozen of training, say, with 100 steps or
            more in all, for int8 (extra `quantize`). Each is read as far as the training length.
          raw: bool, export the network alone: `logits`, `offsets` and `points`. (A SavedModel has
            it as its signature `raw` anyway.)
          batch_size, num_steps: ints, to export for so many sequences, of so many steps; None
            leaves it open.
          feats: list of (T, C) arrays to check the export on; None takes four of
            `calibration_feats`, or makes some up.
          verbose: 1 to show in a terminal which of its steps is running.

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
            precision,
            calibration_feats,
            raw,
            batch_size,
            num_steps,
            feats,
            verbose,
        )

    # ---- serialization --------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """Everything but the dtype: weights are float32 under every policy, and a model that is
        loaded computes in Keras' current policy, whatever it was trained in.

        Raises:
          UserError: a part of the model is quantized, see `quantization`.
        """
        return {
            **self.config,
            "postprocess": dataclasses.asdict(self.postprocess),
            "grid": self.grid and dataclasses.asdict(self.grid),
            "class_names": list(self.class_names),
            "thresholds": self.thresholds and dataclasses.asdict(self.thresholds),
            "encoder": self.encoder,
            "name": self.name,
            **self._changes(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        arguments = dict(config)
        changes = {x: arguments.pop(x) for x in ("quantized", "frozen") if x in arguments}
        model = cls(**arguments)
        model._change(**changes)
        return model
