"""Random changes of a sound file: of its bytes, of what JSON says, of the entries of an archive."""

import io
import json
import zipfile

PIECES = (
    '"|;|,|\t|\n|\0|\\|:|1,500|01:02|1.5|-1|1e999|nan|inf|99999999999999999999|null|{}|[]|[[|<|&a;|'
    "<!DOCTYPE a>|Start|Ende|(frame)|duration|fps|NA|POINT|é|\ufeff|x.avi|99999|\\ud800|../../x|"
    "PK\x03\x04|(((((|-----|{'a':|L,|>f8|O"
).split("|")
ODD_VALUES = (
    None, True, -1, 0, 1e308, float("nan"), float("inf"), 10**400, 99_999, 2**53, "", "x" * 200_000,
    "\ud800", "a\0b", "../../x", "/etc/passwd", "2", "nan", "__class__", [], {}, [1], {"a": 1},
    [[[[]]]], ["a", 1], [None],
)  # fmt: skip


def mutate(content, name, rng):
    """A changed copy.

    Args:
      content: bytes.
      name: str, the file's, whose suffix tells what else than bytes can be changed.
      rng: `random.Random`.

    Returns:
      (bytes; bool, whether the checksums are those of what was changed).
    """
    if name.endswith((".npz", ".keras", ".pt", ".tar", ".xlsx")) and rng.random() < 0.4:
        return _changed_entry(content, rng), True
    if name.endswith(".json") and rng.random() < 0.6:
        return _changed_json(content, rng), False
    return changed_bytes(content, rng), False


def changed_bytes(content, rng):
    """One to four places changed: a bit, a piece, a gap, a copy from elsewhere, or the end gone."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        place, size = rng.randrange(len(content) + 1), rng.choice((0, 1, 1, 3, 10, 40))
        kind = rng.randrange(6)
        if kind == 0 and place < len(content):
            content[place] ^= 1 << rng.randrange(8)
            continue
        if kind == 1:
            del content[place:]
            continue
        other = rng.randrange(len(content) + 1)
        content[place : place + size] = (
            rng.randbytes(size),
            b"",
            bytes(content[other : other + 20]),
            rng.choice(PIECES).encode("utf-8", "surrogatepass"),
        )[kind - 2]
    return bytes(content)


def _changed_json(content, rng):
    """One value replaced by another one of its kind or of none, or one name changed."""
    if rng.random() < 0.02:  # deeper than Python's stack
        return content.replace(b": ", b": " + b"[" * 100_000, 1)
    root = {"": json.loads(content)}
    holders, found = [root], []
    while holders:
        holder = holders.pop()
        keys = holder if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                holders.append(holder[key])
    holder, key = rng.choice(found)
    if isinstance(holder, dict) and holder is not root and rng.random() < 0.3:
        holder[rng.choice(("__class__", "", "x" * 200_000, "\ud800", f"{key}s"))] = holder.pop(key)
    else:
        odd = rng.choice(ODD_VALUES)
        holder[key] = odd if rng.random() < 0.8 else [holder[key], odd]
    return json.dumps(root[""]).encode()


def _changed_entry(content, rng):
    """An archive with right checksums, one entry of which is changed, renamed, gone or packed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    # HDF5 does not survive everything that is made for it; see docs/security.md.
    name = rng.choice([name for name in entries if not name.endswith(".h5")])
    kind = rng.randrange(4)
    if kind == 0:
        del entries[name]
    elif kind == 1:
        entries[rng.choice(("../../x.npy", "/x", "x" * 2000, name.upper()))] = entries.pop(name)
    else:
        entries[name], _ = mutate(entries[name], name, rng)
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method if kind == 3 else zipfile.ZIP_STORED) as archive:
        for entry, value in entries.items():
            archive.writestr(entry, value)
    return target.getvalue()
