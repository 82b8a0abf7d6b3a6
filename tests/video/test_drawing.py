"""Videos with detections drawn onto them: every time as it was, what was found where it belongs."""

import numpy as np
import pytest

from helpers.programs import run_here
from helpers.videos import number_in, numbered, write_video
from keras_actionformer.detection.detections import Detections
from keras_actionformer.errors import UserError
from keras_actionformer.video.drawing import draw_video
from keras_actionformer.video.overlay import Overlay, bars_of
from keras_actionformer.video.reading import probe, read_frames

av = pytest.importorskip("av")

HEIGHT, WIDTH = 96, 128
BLUE, RED = "#0000FF", "#FF0000"


def picture(number):
    return numbered(number, HEIGHT, WIDTH)


def found(*segments, scores=None):
    return Detections(
        np.array(segments, float).reshape(-1, 2),
        np.linspace(0.9, 0.5, len(segments)) if scores is None else scores,
        np.arange(len(segments)) % 2,
        ("eat", "groom"),
    )


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return write_video(folder / "cage.mp4", 200, 25, picture=picture, sound_sec=8)


def sound_of(path):
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(audio=0) if p.size]


def numbers_of(path):
    """(times, numbers that the pictures show); the labels hide no block's middle."""
    times, numbers = zip(*((t, number_in(p[:HEIGHT])) for t, p in read_frames(path)))
    return np.array(times), list(numbers)


def test_times_pictures_and_sound_stay(tmp_path, video):
    draw_video(video, found([2, 4]), tmp_path / "out.mp4", colours=(BLUE, RED))
    times, numbers = numbers_of(tmp_path / "out.mp4")
    np.testing.assert_allclose(times, np.arange(200) / 25, atol=1e-6)
    before = [n for n in range(200) if not 50 <= n < 100]
    assert [numbers[n] for n in before] == before
    assert sound_of(tmp_path / "out.mp4") == sound_of(video)


def test_a_frame_rate_that_varies(tmp_path):
    times_ms = [0, 33, 100, 110, 400, 433, 900, 1000]
    path = write_video(tmp_path / "a.mkv", 8, times_ms=times_ms, picture=picture)
    draw_video(path, found([0.1, 0.4]), tmp_path / "out.mkv", colours=(BLUE, RED))
    times, numbers = numbers_of(tmp_path / "out.mkv")
    np.testing.assert_allclose(times, np.array(times_ms) / 1000, atol=5e-4)


def write_beeping(path, codec):
    """A video of six seconds that beeps in the first tenth of every other one."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=25)
        pictures.height, pictures.width, pictures.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        sound = container.add_stream(codec, rate=8000, layout="mono")
        for number in range(150):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            container.mux(pictures.encode(frame))
            times = np.arange(number * 320, (number + 1) * 320)
            beep = np.where(times % 16_000 < 800, 20_000 * np.sin(times * 0.8), 0)
            frame = av.AudioFrame.from_ndarray(beep[None].astype("int16"), "s16", "mono")
            frame.rate, frame.pts = 8000, times[0]
            container.mux(sound.encode(frame))
        container.mux(pictures.encode(None))
        container.mux(sound.encode(None))
    return path


def beeps_of(path):
    """When they begin, in seconds."""
    loud = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            part = frame.to_ndarray()[0] * (1 if frame.format.name.startswith("flt") else 2**-15)
            loud.append(frame.time + np.flatnonzero(np.abs(part) > 0.2) / frame.rate)
    loud = np.concatenate(loud)
    return loud[np.diff(loud, prepend=-1) > 0.5]


@pytest.mark.parametrize(
    ("codec", "suffix"), [("pcm_s16le", ".mp4"), ("adpcm_ms", ".mkv"), ("pcm_s16le", ".webm")]
)
def test_sound_that_a_file_does_not_take(tmp_path, codec, suffix):
    """As cameras have it that write AVI: it is encoded anew, and keeps its time."""
    video, out = write_beeping(tmp_path / "cam.avi", codec), tmp_path / f"out{suffix}"
    draw_video(video, found([1, 2]), out, colours=(BLUE, RED))
    assert sound_of(out) != sound_of(video)
    np.testing.assert_allclose(beeps_of(out), [0, 2, 4], atol=0.01)
    parts = found([1.5, 2.5], [3.5, 4.5])
    draw_video(video, parts, out, colours=(BLUE, RED), only=True, pad_sec=0)
    np.testing.assert_allclose(beeps_of(out), [0.5, 1.5], atol=0.1)


def test_what_is_drawn_when():
    """One detection from 10 to 12 s, on black: its colour is in the picture while it lasts."""
    bars, _ = bars_of(np.array([[10.0, 12.0]]), ["eat"], [BLUE], np.array([0.9]))
    truth, _ = bars_of(np.array([[9.0, 11.0]]), ["eat"], ["#D0D0D0"])
    overlay = Overlay(bars, truth, HEIGHT, WIDTH)
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)

    def is_there(time_sec, colour, rows):
        drawn = overlay.draw(black, time_sec)[rows]
        return bool((drawn == colour).all(axis=-1).any())

    over, below = slice(0, HEIGHT), slice(HEIGHT, None)
    assert [is_there(t, (0, 0, 255), over) for t in (9.9, 10.0, 11.9, 12.0)] == [
        False, True, True, False,
    ]  # fmt: skip
    assert [is_there(t, (208, 208, 208), over) for t in (8.9, 9.5, 11.0)] == [False, True, False]
    # The timeline shows ten seconds to either side.
    assert [is_there(t, (0, 0, 255), below) for t in (-0.5, 0.5, 21.5, 22.5)] == [
        False, True, True, False,
    ]  # fmt: skip
    now = overlay.draw(black, 11.0)[below]
    columns = np.flatnonzero((now == (0, 0, 255)).all(axis=-1).any(axis=0))
    per_sec = WIDTH / 20
    assert columns.min() == pytest.approx(WIDTH / 2 - per_sec, abs=1.5)
    assert columns.max() == pytest.approx(WIDTH / 2 + per_sec, abs=1.5)


@pytest.mark.parametrize("height", [HEIGHT, 360])
def test_rows_of_the_timeline_stay_apart(height):
    """The letters stay in their bar, whatever their size."""
    bars, _ = bars_of(np.array([[0.0, 20], [0, 20]]), ["eat gyp", "groom"], [BLUE, RED])
    overlay = Overlay(bars, None, height, 2 * height)
    drawn = overlay.draw(np.zeros((height, 2 * height, 3), np.uint8), 10.0)[height:]
    blue, red = (
        np.flatnonzero((drawn[:, 1] == colour).all(axis=-1))
        for colour in ((0, 0, 255), (255, 0, 0))
    )
    gap = drawn[blue.max() + 1 : red.min()]
    assert len(gap) == 2 and np.ptp(blue) == np.ptp(red)
    assert (np.delete(gap, range(height - 2, height + 3), axis=1) == gap[:, :1]).all()  # but now


def test_what_overlaps_has_rows_and_the_surest_place():
    segments = np.array([[0, 10], [1, 9], [2, 8], [3, 7], [10, 11.0]])
    bars, left_out = bars_of(
        segments, list("abcde"), [BLUE] * 5, np.array([0.1, 0.9, 0.5, 0.7, 0.2])
    )
    assert {bar.name: bar.row for bar in bars} == {"b": 0, "d": 1, "c": 2, "e": 0}
    assert left_out == 1
    assert [bar.label for bar in bars][:1] == ["b 0.90"]


def test_only_what_was_found(tmp_path, video):
    parts = found([1, 2], [1.5, 2.5], [6, 6.4])
    draw_video(video, parts, tmp_path / "out.mp4", colours=(BLUE, RED), only=True, pad_sec=0.39)
    times, numbers = numbers_of(tmp_path / "out.mp4")
    # From 0.61 to 2.89 s and from 5.61 to 6.79 s, one after the other.
    kept = [n for n in range(200) if 0.61 <= n / 25 < 2.89 or 5.61 <= n / 25 < 6.79]
    assert len(numbers) == len(kept)
    np.testing.assert_allclose(times, np.arange(len(kept)) / 25, atol=0.021)
    free = [i for i, n in enumerate(kept) if not (25 <= n < 63 or 150 <= n < 160)]
    assert [numbers[i] for i in free] == [kept[i] for i in free]
    assert probe(tmp_path / "out.mp4").duration_sec == pytest.approx(3.46, abs=0.1)
    with pytest.raises(UserError, match="nothing is left: it has no detection"):
        draw_video(video, found(), tmp_path / "none.mp4", colours=(BLUE,), only=True)


def test_clips(tmp_path, video):
    parts = found([5, 6], [1, 2], [1.5, 3], [8.1, 9])  # the last one begins after the end
    drawn = draw_video(video, parts, clips=tmp_path, colours=(BLUE, RED), pad_sec=0.2)
    clips = drawn.clips
    assert drawn.beyond == 1 and len(list(tmp_path.iterdir())) == 3
    assert [clip.name for clip in clips] == [
        "cage_1_groom.mp4", "cage_2_eat.mp4", "cage_3_eat.mp4",
    ]  # fmt: skip
    for clip, (start, end) in zip(clips, [(0.8, 2.2), (1.3, 3.2), (4.8, 6.2)], strict=True):
        times, numbers = numbers_of(clip)
        wanted = [n for n in range(200) if start <= n / 25 + 1e-9 < end]
        assert len(numbers) == pytest.approx(len(wanted), abs=1)
        assert times[0] == pytest.approx(0, abs=0.04) and sound_of(clip)
    assert not list(tmp_path.glob(".*"))


def test_what_cannot_be_written(tmp_path, video):
    with pytest.raises(UserError, match="must end in .mp4, .mkv, .mov, .webm"):
        draw_video(video, found([1, 2]), tmp_path / "out.avi", colours=(BLUE, RED))
    assert not list(tmp_path.iterdir())


def test_the_video_itself_is_kept(tmp_path, video):
    content = video.read_bytes()
    (tmp_path / "link.mp4").symlink_to(video)
    for path in (video, tmp_path / "link.mp4"):
        with pytest.raises(UserError, match="is the video itself, which would be lost"):
            draw_video(video, found([1, 2]), path, colours=(BLUE, RED))
    assert video.read_bytes() == content


def test_the_program(tmp_path, video):
    (tmp_path / "bouts.csv").write_text(
        "video,start_sec,end_sec,label,score\ncage,1,2,eat,0.9\ncage,5,6,groom,0.2\n"
        "cage,8.5,9,eat,0.8\n"
    )
    (tmp_path / "truth.csv").write_text("video,start,end,label\ncage,1.1,2,eat\n")
    wanted = ("draw", f"--videos={video}", "--detections=bouts.csv")
    done = run_here(
        tmp_path, *wanted, "--truth=truth.csv", "--score_threshold=0.5", "--output=12:30.mp4",
        "--clips=clips",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Wrote '12:30.mp4' with 1 detection.\nWrote 1 clip to 'clips'." in done.stdout
    assert "1 detection begins after the end of" in done.stdout
    assert len(list((tmp_path / "clips").iterdir())) == 1
    assert probe(tmp_path / "12:30.mp4").num_frames == 200
    (tmp_path / "other.csv").write_text("video,start_sec,end_sec,label,score\ncaga,1,2,eat,0.9\n")
    done = run_here(tmp_path, *wanted[:2], "--detections=other.csv", "--output=a.mp4")
    assert done.returncode == 2 and "has detections of 'caga', but the videos are" in done.stderr
    (tmp_path / "none.csv").write_text("video,start_sec,end_sec,label,score\n")
    done = run_here(tmp_path, *wanted[:2], "--detections=none.csv", "--output=a.mp4")
    assert done.returncode == 2 and "has no detection: there is nothing to draw" in done.stderr
    both = f"--videos={video},12:30.mp4"
    done = run_here(tmp_path, "draw", both, "--detections=bouts.csv", "--output=a.mp4")
    assert done.returncode == 2 and "names 2 videos, but --output=a.mp4 is a file" in done.stderr
    (tmp_path / "a.mp4").write_bytes(b"")  # costs itself alone
    both = f"--videos=a.mp4,{video}"
    done = run_here(tmp_path, "draw", both, "--detections=bouts.csv", "--output=drawn")
    assert done.returncode == 1 and "Error: Video 'a.mp4' cannot be read" in done.stderr
    assert "Wrote 'drawn/cage.mp4'" in done.stdout
