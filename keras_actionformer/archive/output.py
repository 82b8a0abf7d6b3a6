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
import contextlib
import csv
import dataclasses
import io
import itertools
import json
import os
import pathlib
import zlib

from keras_actionformer import remote
from keras_actionformer.archive.inputs import Input
from keras_actionformer.errors import UserError
from keras_actionformer.extras import import_extra
from keras_actionformer.files import (
    atomic_write,
    parse_json,
    read_bytes,
    reason_of,
    told_if_unreadable,
)
from keras_actionformer.folder_lock import alone_in

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
      checksum: int, the CRC-32 of these bytes.
    """

    number: int
    start: int
    end: int
    checksum: int


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

    def alone(self):
        """Has the folder to itself within a block, unless it is at an address.

        Raises:
          UserError: another process detects into it, or it is a file.
        """
        if remote.is_address(self.place):
            return contextlib.nullcontext()
        if os.path.isfile(self.place):
            raise UserError(f"--output={self.place} is a file: name a folder, new or of before.")
        return alone_in(self.place, "detecting", "--output")

    def check_settings(self, settings):
        """Notes what detects, a dict of what JSON holds; UserError where it was something else."""
        content = self._read(_SETTINGS)
        if content is None:
            self._write(_SETTINGS, json.dumps(settings, indent=1).encode() + b"\n")
            return
        before = self._parsed(_SETTINGS, content, dict)
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
          UserError: a video was another file before, or had other times.
        """
        lines = (self._read(_PLAN) or b"").splitlines(keepends=True)
        known, last = {}, {}
        for number, line in enumerate(lines):
            for item in self._planned(line):
                known[item.video], last[item.video] = item, number
        retried = {}
        if retry_failed:
            done = self.done()  # of a retry that was stopped, files are in the plan already
            failed = [row.video for row in self.outcomes() if row.reason]
            retried = dict.fromkeys(video for video in failed if last[video] in done)
        for video, item in inputs.items():
            if video in known and video not in retried:
                self._check_same(known[video], item)
        new = [item for video, item in inputs.items() if video not in known]
        new += [inputs.get(video, known[video]) for video in retried]
        for first in range(0, len(new), shard_files):
            rows = [dataclasses.astuple(item) for item in new[first : first + shard_files]]
            lines.append(json.dumps(rows).encode() + b"\n")
        if new:
            self._write(_PLAN, b"".join(lines))
        edges = [0, *itertools.accumulate(map(len, lines))]
        spans = itertools.pairwise(edges)
        return [
            Shard(number, *span, zlib.crc32(line))
            for number, (line, span) in enumerate(zip(lines, spans, strict=True))
        ]

    def inputs(self, shard):
        """The files of a shard, a list of `Input`.

        Raises:
          UserError: the plan is another one now.
        """
        path = self._path(_PLAN)
        if remote.is_address(path):
            with told_if_unreadable(f"'{path}' cannot be read"):
                line = remote.read(path, shard.start, shard.end)
        else:
            with open(path, "rb") as file:
                file.seek(shard.start)
                line = file.read(shard.end - shard.start)
        if zlib.crc32(line) != shard.checksum:
            raise UserError(
                f"'{path}' was changed by another process meanwhile: let one at a time detect "
                f"into '{self.place}', and begin again in another --output."
            )
        return self._planned(line)

    def _planned(self, line):
        return self._parsed(_PLAN, line, lambda rows: [Input(*row) for row in rows])

    def _check_same(self, before, now):
        if before.path != now.path:
            raise UserError(
                f"The video {now.video!r} is '{now.path}', but '{self.place}' has detections of "
                f"'{before.path}' by this name: choose another --output."
            )
        for name in ("fps", "duration_sec"):
            old, new = getattr(before, name), getattr(now, name)
            if old != new:
                raise UserError(
                    f"The video {now.video!r} has {name} {new}, but '{self.place}' has detections "
                    f"of it with {old}: choose another --output."
                )

    # === Shards ===

    def done(self):
        """The numbers of the shards that are done and whose detections are there, a set of int."""
        marked, written = self._names(_DONE), set(self._names(""))
        stems = [name.removesuffix(".json") for name in marked if name.endswith(".json")]
        numbers = {int(stem) for stem in stems if stem.isdigit()}
        return {number for number in numbers if self._detections_name(number) in written}

    def write_shard(self, shard, found, outcomes):
        """Writes what a shard has come to.

        Args:
          shard: `Shard`.
          found: dict of video id to `Detections`.
          outcomes: list of `Outcome`, of each of its files.
        """
        write = _parquet if self.format == "parquet" else _lines
        self._write(self._detections_name(shard.number), write(found))
        rows = [dataclasses.astuple(row) for row in outcomes]
        self._write(_done_name(shard.number), json.dumps(rows).encode() + b"\n")

    # === What became of the files ===

    def outcomes(self):
        """What became of each file so far: list of `Outcome`, by id; the last try of each."""
        names = [_done_name(number) for number in sorted(self.done())]
        with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
            texts = zip(names, readers.map(self._read, names), strict=True)
            rows = [row for name, text in texts for row in self._parsed(name, text, _outcomes_of)]
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

    def _detections_name(self, number):
        return f"detections-{number:05d}.{self.format}"

    def _names(self, folder):
        """The names of what is in a folder of this one, or in itself; none where none is."""
        path = self._path(folder).rstrip("/")
        if not remote.is_address(path):
            return os.listdir(path) if os.path.isdir(path) else []
        with told_if_unreadable(f"'{path}' cannot be listed"):
            return remote.names_in(path)

    def _read(self, name):
        """The bytes of a file, or None where there is none."""
        path = self._path(name)
        with told_if_unreadable(f"'{path}' cannot be looked for"):
            is_there = remote.exists(path) if remote.is_address(path) else os.path.exists(path)
        return read_bytes(path, _KIND) if is_there else None

    def _parsed(self, name, content, make):
        """What `make` makes of the JSON in a file's bytes; UserError where it cannot."""
        try:
            return make(parse_json(content.decode()))
        except (TypeError, ValueError) as error:
            raise UserError(
                f"'{self._path(name)}' is damaged ({error}): if it is of {_DONE}/ remove it, and "
                "its shard is done again; else choose another --output."
            ) from None

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


def _outcomes_of(rows):
    return [Outcome(*row) for row in rows]


def _lines(found):
    """A line of JSON for each detection, as `load_detections` reads them."""
    return "".join(
        json.dumps({"video": video, **row}, ensure_ascii=False) + "\n"
        for video, detections in found.items()
        for row in detections.to_dicts()
    ).encode("utf-8", "backslashreplace")


def _parquet(found):
    """A table: video, start_sec, end_sec, label (a number where classes have no names), score."""
    arrow = import_extra("pyarrow", "pyarrow", "parquet", "--format=parquet")
    parquet = import_extra("pyarrow.parquet", "pyarrow", "parquet", "--format=parquet")
    rows = [(video, row) for video, each in found.items() for row in each.to_dicts()]
    is_named = all(each.class_names for each in found.values())
    labels = arrow.string() if is_named else arrow.int64()
    schema = arrow.schema(
        [("video", arrow.string()), ("start_sec", arrow.float64()), ("end_sec", arrow.float64()),
         ("label", labels), ("score", arrow.float64())]
    )  # fmt: skip
    columns = [
        [video.encode("utf-8", "backslashreplace").decode() for video, _ in rows],
        *([row["segment"][side] for _, row in rows] for side in (0, 1)),
        [row["label"] for _, row in rows],
        [row["score"] for _, row in rows],
    ]
    arrays = [arrow.array(*column) for column in zip(columns, schema.types, strict=True)]
    target = io.BytesIO()
    parquet.write_table(arrow.Table.from_arrays(arrays, schema=schema), target)
    return target.getvalue()
