"""The folder that the detections of an archive are written to, here or at an address.

It holds
  settings.json            the model, by the checksum of its weights, and the options
  plan.jsonl               the files, a line a shard: only ever continued
  detections-00000.jsonl   what was found in the files of a shard (or .parquet)
  done/00000.json          what became of each of its files; it comes last, and marks the shard done
  files.csv, failed.csv    the same of all files, and of those that could not be detected in
Each is written in one step. A shard is always the same files, so whoever does it, and however
often, writes the same.
"""

import concurrent.futures
import csv
import dataclasses
import io
import itertools
import json
import os
import pathlib

from keras_actionformer import remote
from keras_actionformer.archive.inputs import Input
from keras_actionformer.errors import UserError
from keras_actionformer.extras import import_extra
from keras_actionformer.files import atomic_write, parse_json, read_bytes, reason_of

_SETTINGS, _PLAN, _DONE = "settings.json", "plan.jsonl", "done"
TABLE, FAILED = "files.csv", "failed.csv"
FORMATS = ("jsonl", "parquet")
_KIND = "File of an archive's detections"
_READERS = 16  # at once, of files that are small and far away


@dataclasses.dataclass(frozen=True)
class Shard:
    """A part of the plan.

    Args:
      number: int.
      start, end: ints, the bytes of the plan that tell its files.
    """

    number: int
    start: int
    end: int


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a file.

    Args:
      video, path: strs, as of `Input`.
      steps: int, of its features; or None.
      detections: int, how many; None where it failed.
      reason: str, why it failed; or empty.
    """

    video: str
    path: str
    steps: int | None = None
    detections: int | None = None
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class OutputFolder:
    """The folder, by its path or address; it can be sent to other machines.

    Args:
      place: str.
      format: str, one of `FORMATS`.
    """

    place: str
    format: str

    def check_settings(self, settings):
        """Notes what detects, a dict of what JSON holds; UserError where it was something else."""
        before = self._read(_SETTINGS)
        if before is None:
            self._write(_SETTINGS, json.dumps(settings, indent=1).encode() + b"\n")
            return
        before = parse_json(before.decode())
        other = [name for name in settings if settings[name] != before.get(name)]
        if other:
            raise UserError(
                f"'{self.place}' holds detections of another {other[0]}: {before.get(other[0])!r}, "
                f"and not {settings[other[0]]!r}; choose another --output, or remove that folder."
            )

    # === The plan ===

    def plan(self, inputs, shard_files, retry_failed):
        """Puts what is not in the plan yet into shards of their own.

        Args:
          inputs: dict of video id to `Input`.
          shard_files: int, most files of a shard.
          retry_failed: bool, whether those that failed before are planned again.

        Returns:
          list of all `Shard`.

        Raises:
          UserError: a video was another file before.
        """
        lines = (self._read(_PLAN) or b"").splitlines(keepends=True)
        known = {item.video: item for line in lines for item in _inputs_of(line)}
        for video, item in inputs.items():
            if known.get(video, item).path != item.path:
                raise UserError(
                    f"The video {video!r} is '{item.path}', but '{self.place}' has detections of "
                    f"'{known[video].path}' by this name: choose another --output."
                )
        new = [item for video, item in inputs.items() if video not in known]
        if retry_failed:
            failed = [row for row in self.outcomes() if row.reason]
            new += [inputs.get(row.video, known[row.video]) for row in failed]
        for first in range(0, len(new), shard_files):
            rows = [dataclasses.astuple(item) for item in new[first : first + shard_files]]
            lines.append(json.dumps(rows).encode() + b"\n")
        if new:
            self._write(_PLAN, b"".join(lines))
        edges = [0, *itertools.accumulate(map(len, lines))]
        return [Shard(number, *span) for number, span in enumerate(itertools.pairwise(edges))]

    def inputs(self, shard):
        """The files of a shard, a list of `Input`."""
        path = self._path(_PLAN)
        if remote.is_address(path):
            return _inputs_of(remote.read(path, shard.start, shard.end))
        with open(path, "rb") as file:
            file.seek(shard.start)
            return _inputs_of(file.read(shard.end - shard.start))

    # === Shards ===

    def done(self):
        """The numbers of the shards that are done, a set of int."""
        if remote.is_address(self.place):
            names = remote.names_in(self._path(_DONE))
        else:
            names = os.listdir(self._path(_DONE)) if os.path.isdir(self._path(_DONE)) else []
        stems = [name.removesuffix(".json") for name in names if name.endswith(".json")]
        return {int(stem) for stem in stems if stem.isdigit()}

    def write_shard(self, shard, found, outcomes):
        """Writes what a shard has come to.

        Args:
          shard: `Shard`.
          found: dict of video id to `Detections`.
          outcomes: list of `Outcome`, of each of its files.
        """
        write = _parquet if self.format == "parquet" else _lines
        self._write(f"detections-{shard.number:05d}.{self.format}", write(found))
        rows = [dataclasses.astuple(row) for row in outcomes]
        self._write(_done_name(shard.number), json.dumps(rows).encode() + b"\n")

    # === What became of the files ===

    def outcomes(self):
        """What became of each file so far: list of `Outcome`, by id; the last try of each."""
        with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
            texts = list(readers.map(self._read, map(_done_name, sorted(self.done()))))
        rows = [Outcome(*row) for text in texts for row in parse_json(text.decode())]
        return sorted({row.video: row for row in rows}.values(), key=lambda row: row.video)

    def write_tables(self, outcomes):
        """Writes the tables of all files and of those that failed."""
        for name, rows in ((TABLE, outcomes), (FAILED, [row for row in outcomes if row.reason])):
            text = io.StringIO(newline="")
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(field.name for field in dataclasses.fields(Outcome))
            writer.writerows(map(dataclasses.astuple, rows))
            self._write(name, text.getvalue().encode("utf-8", "surrogateescape"))

    # === Files ===

    def _path(self, name):
        return remote.join(self.place, name)

    def _read(self, name):
        """The bytes of a file, or None where there is none."""
        path = self._path(name)
        is_there = remote.exists(path) if remote.is_address(path) else os.path.exists(path)
        return read_bytes(path, _KIND) if is_there else None

    def _write(self, name, content):
        path = self._path(name)
        if not remote.is_address(path):
            with atomic_write(pathlib.Path(path), "wb") as file:
                file.write(content)
            return
        try:
            remote.write(path, content)
        except OSError as error:
            raise UserError(f"'{path}' cannot be written: {reason_of(error)}.") from error


def _done_name(number):
    return f"{_DONE}/{number:05d}.json"


def _inputs_of(line):
    return [Input(*row) for row in parse_json(line.decode())]


def _lines(found):
    """A line of JSON for each detection, as `load_detections` reads them."""
    return "".join(
        json.dumps({"video": video, **row}, ensure_ascii=False) + "\n"
        for video, detections in found.items()
        for row in detections.to_dicts()
    ).encode("utf-8", "backslashreplace")


def _parquet(found):
    """A table with the columns video, start_sec, end_sec, label, score."""
    arrow = import_extra("pyarrow", "pyarrow", "parquet", "--format=parquet")
    parquet = import_extra("pyarrow.parquet", "pyarrow", "parquet", "--format=parquet")
    rows = [(video, row) for video, each in found.items() for row in each.to_dicts()]
    labels = arrow.int64() if rows and isinstance(rows[0][1]["label"], int) else arrow.string()
    schema = arrow.schema(
        [("video", arrow.string()), ("start_sec", arrow.float64()), ("end_sec", arrow.float64()),
         ("label", labels), ("score", arrow.float64())]
    )  # fmt: skip
    columns = [
        [video for video, _ in rows],
        *([row["segment"][side] for _, row in rows] for side in (0, 1)),
        [row["label"] for _, row in rows],
        [row["score"] for _, row in rows],
    ]
    arrays = [arrow.array(*column) for column in zip(columns, schema.types, strict=True)]
    target = io.BytesIO()
    parquet.write_table(arrow.Table.from_arrays(arrays, schema=schema), target)
    return target.getvalue()
