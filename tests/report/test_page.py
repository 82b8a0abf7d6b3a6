"""The page as a file: what is in it, and that nobody's names break out of it."""

import base64
import hashlib
import json
import re
import sys

import numpy as np
import pytest

from helpers.made_up_scores import HOSTILE, NAMES, made_up
from keras_actionformer import Thresholds, UserError
from keras_actionformer.report.page import write_page
from keras_actionformer.report.sources import Scored

pytest.importorskip("jinja2", reason="pages need the extra 'report'")

SCRIPT = re.compile(r"<script>(.*?)</script>", re.S)
STYLE = re.compile(r"<style>(.*?)</style>", re.S)
POLICY = re.compile(r'Content-Security-Policy" content="([^"]*)"')
DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.S)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(path, made_up())
    return path.read_text(encoding="utf-8")


def hash_of(text):
    return f"&#39;sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}&#39;"


def test_nothing_but_its_own_script_and_style_may_run(page):
    """What names of others hold is text: one script, and the policy allows no other by its hash."""
    (script,), (style,) = SCRIPT.findall(page), STYLE.findall(page)
    (policy,) = POLICY.findall(page)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "&#39;none&#39;"
    assert rules["script-src"].replace("&#43;", "+") == hash_of(script)
    assert rules["style-src"].replace("&#43;", "+") == hash_of(style)
    assert "media-src" not in rules and "connect-src" not in rules
    assert HOSTILE not in page and page.count("</script>") == 2
    assert "&lt;b&gt;jump&lt;/b&gt; &amp; sit" in page  # of a table


def test_it_names_no_place_on_the_net(page):
    addresses = set(re.findall(r"[a-z]+://[^\s\"'<>)]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # the name of a kind of element
    assert not re.search(r"\ssrc=|\shref=(?!\"(#|data:,))|url\(|@import", STYLE.sub("", page))


def test_data_can_be_read_back(page):
    (text,) = DATA.findall(page)
    data = json.loads(text)
    scored = made_up()
    timelines = data["timelines"]
    assert [video["id"] for video in timelines["videos"]] == [v.video_id for v in scored.videos]
    assert timelines["classes"] == list(NAMES)
    num_found = sum(len(video["found"]) // 4 for video in timelines["videos"])
    assert num_found == sum(map(len, scored.detections.values()))
    for chart in data["charts"]:
        assert chart["title"] and chart["series"]


def test_summary_is_in_words(page):
    text = re.sub(r"<[^>]+>", " ", page)
    assert re.search(r"From a score of [\d.]+.* it finds \d+ % of what happened \(\d+ of \d+", text)
    assert "Half of the" in text and "No thresholds were given" in text


def test_what_a_run_has_more(tmp_path):
    scored = made_up()
    from keras_actionformer.training.config import default_config, to_plain

    settings = to_plain(default_config())
    settings["train"]["epochs"] = 77
    log = [{"epoch": n + 1.0, "loss": 1 / (n + 1), "val_mAP": n / 9} for n in range(5)]
    run = Scored(
        "a run", scored.videos, scored.detections, scored.class_names, Thresholds(0.4), (0.3, 0.9),
        settings, log,
    )  # fmt: skip
    write_page(tmp_path / "report.html", run)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    data = json.loads(DATA.findall(text)[0])
    assert {"Loss", "Validation mAP"} <= {chart["title"] for chart in data["charts"]}
    assert data["timelines"]["tious"] == [0.3, 0.5, 0.9]
    assert "train.epochs" in text and "<td>77</td>" in text
    assert "as recommended" in text and "No thresholds were given" not in text


def test_videos_are_named_by_their_way_from_the_page(tmp_path):
    scored = made_up()
    folder = tmp_path / "my videos"
    folder.mkdir()
    (folder / "video_0.mp4").touch()
    (folder / "video_2.webm").touch()
    write_page(tmp_path / "pages" / "report.html", scored, folder)
    text = (tmp_path / "pages" / "report.html").read_text(encoding="utf-8")
    videos = json.loads(DATA.findall(text)[0])["timelines"]["videos"]
    sources = {video["id"]: video.get("src") for video in videos}
    assert sources["video_0"] == "../my%20videos/video_0.mp4"
    assert sources["video_2"] == "../my%20videos/video_2.webm" and sources["video_3"] is None
    assert "media-src" in POLICY.findall(text)[0]


def test_no_video_of_a_folder_fits(tmp_path):
    (tmp_path / "other.mp4").touch()
    with pytest.raises(UserError, match="has no video of 8 videos.*video_0.mp4"):
        write_page(tmp_path / "report.html", made_up(), tmp_path)


def test_without_detections_and_with_one_class(tmp_path):
    scored = made_up(num_videos=2, names=("only",))
    nothing = {name: found[np.zeros(len(found), bool)] for name, found in scored.detections.items()}
    write_page(tmp_path / "report.html", Scored("x", scored.videos, nothing, ("only",)))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "finds 0 % of what happened" in text and "NaN" not in DATA.findall(text)[0]
    assert "; it reports nothing." in text and "nan" not in text.split("<script")[0]


def test_no_class_is_best_where_all_are_alike(tmp_path):
    scored = made_up(num_videos=2)
    path = tmp_path / "report.html"
    write_page(path, Scored("x", scored.videos, {}, scored.class_names))
    text = path.read_text(encoding="utf-8")
    # Nor are there thresholds of the best F1.
    assert "Best at" not in text and "No thresholds were given" not in text


def test_jinja_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(UserError, match=r"Jinja2: pip install 'keras-actionformer\[report\]'"):
        write_page(tmp_path / "report.html", made_up())
    assert not (tmp_path / "report.html").exists()
