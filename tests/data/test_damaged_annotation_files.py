"""Annotation files with random damage: they are read or refused in a sentence, and soon."""

import json
import random
import time

import numpy as np
import pytest

from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.errors import UserError

FILES = {
    "table.csv": "Video;Verhalten;Start (s);Ende (s);fps\n"
    "v1.mp4;äsen;1,5;2,25;25\nv2;ruhen;1:02.5;63;\n",
    "table.txt": "video\tlabel\tstart (frame)\tduration\tfps\n"
    "v1\teat\t25\t2\t25\nv2\teat\t50\t3\t30\n",
    "boris.tsv": "Observation id\tBehavior\tBehavior type\tTime\tSource\n"
    "a\teat\tSTART\t1.5\tplayer #1:v.mp4\na\teat\tSTOP\t2.5\tplayer #1:v.mp4\n",
    "labels.txt": "1.5\t2.25\tcall\n\\\t440.0\t880.0\n3.0\t4.0\tsong\n",
    "elan.eaf": '<?xml version="1.0"?><ANNOTATION_DOCUMENT><HEADER TIME_UNITS="milliseconds">'
    '<MEDIA_DESCRIPTOR MEDIA_URL="file:///v.mp4" TIME_ORIGIN="5"/></HEADER><TIME_ORDER>'
    '<TIME_SLOT TIME_SLOT_ID="a" TIME_VALUE="0"/><TIME_SLOT TIME_SLOT_ID="b" TIME_VALUE="9"/>'
    '</TIME_ORDER><TIER TIER_ID="t"><ANNOTATION><ALIGNABLE_ANNOTATION TIME_SLOT_REF1="a" '
    'TIME_SLOT_REF2="b"><ANNOTATION_VALUE>eat</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION>'
    "</ANNOTATION></TIER></ANNOTATION_DOCUMENT>",
    "via.json": json.dumps(
        {
            "project": {},
            "attribute": {"1": {"aname": "a", "type": 2, "options": {"x": "eat"}}},
            "file": {"1": {"fname": "v.mp4"}},
            "view": {"1": {"fid_list": ["1"]}},
            "metadata": {"m": {"vid": "1", "z": [1, 2], "xy": [], "av": {"1": "x"}}},
        }
    ),
    "studio.json": json.dumps(
        [
            {
                "id": 1,
                "data": {"video": "v.mp4", "fps": 25},
                "annotations": [
                    {
                        "result": [
                            {
                                "value": {
                                    "ranges": [{"start": 1, "end": 9}],
                                    "timelinelabels": ["a"],
                                }
                            },
                            {"value": {"start": 1, "end": 2, "timeserieslabels": ["b"]}},
                            {"value": {"start": 1, "end": 2, "labels": ["c"]}},
                        ]
                    }
                ],
            }
        ]
    ),
}
PIECES = (
    '"|;|,|\t|\n|\0|\\|:|1,500|01:02|1.5|-1|1e999|nan|inf|99999999999999999999|null|{}|[]|[[|<|&a;|'
    "<!DOCTYPE a>|Start|Ende|(frame)|duration|fps|NA|POINT|é|\ufeff|x.avi"
).split("|")


def damaged(content, rng):
    """The content with one to four places changed."""
    content = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place, size = rng.randrange(len(content) + 1), rng.choice([0, 1, 3, 10, 40])
        piece = rng.choice(PIECES).encode()
        match rng.randrange(4):
            case 0:
                piece = bytes([rng.randrange(256)])
            case 1:
                piece = b""
            case 2:
                other = rng.randrange(len(content) + 1)
                piece = content[other : other + 20]
        content[place : place + size] = piece
    return bytes(content)


@pytest.mark.parametrize("name", FILES)
def test_damaged_files(tmp_path, name):
    rng = random.Random(name)
    path, num_read = tmp_path / name, 0
    content = FILES[name].encode()
    settings = {"default_subset": "t", "on_note": str, "fps": 25.0, "time_unit": "seconds"}
    path.write_bytes(content)
    assert load_annotations(path, **settings).videos  # without any damage
    start = time.process_time()
    for _ in range(150):
        path.write_bytes(damaged(content, rng))
        try:
            videos = load_annotations(path, **settings).videos
        except UserError as error:
            assert name in str(error) and len(str(error)) < 2000
        else:
            num_read += 1
            assert all(np.isfinite(video.segments_sec).all() for video in videos)
    assert num_read
    assert time.process_time() - start < 60  # half a second each would be slow already
