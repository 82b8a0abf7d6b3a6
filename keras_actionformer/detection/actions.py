"""Actions of EPIC-KITCHENS: a model of verbs and one of nouns, joined point by point.

An action is a pair of a verb and a noun, of which the challenge has 97 * 300. The authors of the
reference train a model for each and join what they say at the same point of the pyramid
(github.com/happyharrycn/actionformer_release, issues 29 and 97); the rule here is the one that
OpenTAD publishes (tools/prepare_data/epic/epic_action_noun_verb_submit.py): the segment is the
mean of both, the 10 best verbs of a point are paired with its 10 best nouns, and a pair has the
score sqrt(score of the verb * score of the noun). Pairs are then classes like any other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import keras
from absl import logging
from keras import ops

from keras_actionformer.detection.decode import (
    CandidateDecoder,
    best_candidates,
    is_finite_at,
    point_scores,
)
from keras_actionformer.detection.detector import Detector
from keras_actionformer.detection.detectors import Detectors
from keras_actionformer.detection.ensembles import CombinedModel
from keras_actionformer.detection.submissions import NUM_NOUNS, NUM_VERBS
from keras_actionformer.errors import UserError

if TYPE_CHECKING:
    from keras_actionformer.detection.ensembles import Ensemble
    from keras_actionformer.model import ActionFormer

_BEST = 10  # verbs, and nouns, that a point offers
_NUMBERED = re.compile(r"id_(\d+)")  # how OpenTAD's annotations call the classes


class VerbNounModel(CombinedModel):
    """Detects actions with a model of verbs and a model of nouns.

    The classes of what it detects are called as the challenge writes actions, `"0,21"`: the id of
    the verb and that of the noun. Settings are those of the model of verbs.

    Example:

    ```python
    verbs, nouns = (ActionFormer.from_preset(f"runs/epic_{name}") for name in ("verb", "noun"))
    model = VerbNounModel(verbs, nouns)
    found = model.detect(feats)
    ```

    Args:
      verbs: `ActionFormer`, or an `Ensemble` of several.
      nouns: likewise, of the same features and pyramid.

    Raises:
      UserError: the models differ in what they must have in common, or one has ids that the
        challenge does not have (of the other, say); the message names it.
    """

    def __init__(self, verbs: ActionFormer | Ensemble, nouns: ActionFormer | Ensemble) -> None:
        verb_ids = _known_ids("verbs", verbs, NUM_VERBS)
        noun_ids = _known_ids("nouns", nouns, NUM_NOUNS)
        names = [f"{verb},{noun}" for verb in verb_ids for noun in noun_ids]
        models = {"the model of verbs": verbs, "the model of nouns": nouns}
        super().__init__(models, names, Detectors(_PairDetector))

    def _joined(self, logits):
        return ops.concatenate(logits, axis=-1)


def official_ids(model):
    """The ids that EPIC-KITCHENS gives the classes of a model: their places, unless the names are
    ids themselves, as those of OpenTAD, whose nouns are the 293 that occur."""
    numbered = [_NUMBERED.fullmatch(name) for name in model.class_names]
    if numbered and all(numbered):
        return [int(match[1]) for match in numbered]
    return list(range(model.architecture.num_classes))


def _known_ids(what, model, num_ids):
    """The `official_ids` of a model, which are below `num_ids`."""
    ids = official_ids(model)
    if max(ids) >= num_ids:
        raise UserError(
            f"The model of {what} has a class of id {max(ids)}, but EPIC-KITCHENS-100 has "
            f"{num_ids} {what}, with ids from 0: are the two models swapped?"
        )
    if ids == list(range(len(ids))) and len(ids) < num_ids:
        logging.warning(
            "The model of %s has %d classes, whose places are taken for the ids of "
            "EPIC-KITCHENS-100, which has %d: of other classes actions would be called wrong.",
            what,
            len(ids),
            num_ids,
        )
    return ids


class _PairDetector(Detector):
    """The detector of a `VerbNounModel`."""

    def _make_decoder(self):
        architecture = self._model.architecture
        return PairDecoder(
            *self._counts,
            strides=architecture.strides,
            regression_range=architecture.regression_range,
            settings=self._settings,
            point_offset=architecture.point_offset,
            name="decoder",
        )

    @property
    def _counts(self):
        """How many verbs and nouns there are."""
        return [model.architecture.num_classes for model in self._model.models]

    @property
    def _choices(self):
        verbs, nouns = (min(count, _BEST) for count in self._counts)
        return verbs * nouns


@keras.saving.register_keras_serializable("keras_actionformer")
class PairDecoder(CandidateDecoder):
    """Candidates of pairs; class `v * num_nouns + n` is verb v with noun n.

    Args:
      num_verbs, num_nouns: int.
      **kwargs: those of `CandidateDecoder`.

    Call: as `CandidateDecoder`, of logits (B, P, num_verbs + num_nouns).
    """

    def __init__(self, num_verbs, num_nouns, **kwargs):
        super().__init__(**kwargs)
        self.num_verbs = num_verbs
        self.num_nouns = num_nouns

    def decode(self, logits, offsets, points, mask, num_points):
        scores = point_scores(logits, mask)
        verb_scores, verbs = _best(scores[..., : self.num_verbs], self.num_verbs)
        noun_scores, nouns = _best(scores[..., self.num_verbs :], self.num_nouns)
        pair_scores = ops.sqrt(verb_scores[..., :, None] * noun_scores[..., None, :])
        pairs = verbs[..., :, None] * self.num_nouns + nouns[..., None, :]
        choices = verbs.shape[-1] * nouns.shape[-1]
        total = sum(num_points)
        return best_candidates(
            ops.reshape(pair_scores, (-1, total, choices)),
            ops.reshape(pairs, (-1, total, choices)),
            offsets,
            is_finite_at(mask, logits, offsets),
            points,
            num_points,
            self.settings,
        )

    def get_config(self):
        return {**super().get_config(), "num_verbs": self.num_verbs, "num_nouns": self.num_nouns}


def _best(scores, num_classes):
    """The best scores (B, P, n) of each point, and their classes (B, P, n) int32."""
    best, classes = ops.top_k(scores, min(num_classes, _BEST))
    return best, ops.cast(classes, "int32")
