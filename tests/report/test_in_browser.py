"""The page in a browser: nothing goes wrong, nothing is fetched, and its controls do something.

Needs the package playwright and a Chromium: `apt-get install chromium`, or `playwright install
chromium`. Without them these tests are skipped.
"""

import shutil

import pytest

from helpers.made_up_scores import HOSTILE, made_up
from keras_actionformer.evaluation.comparison import compare
from keras_actionformer.evaluation.score_thresholds import score_above
from keras_actionformer.report.comparison_page import write_comparison_page
from keras_actionformer.report.page import write_page

pytest.importorskip("jinja2", reason="pages need the extra 'report'")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        try:
            # Without a sandbox, which needs more rights than a container has: the page is ours.
            browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no Chromium starts here: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    scored = made_up(num_videos=30)
    write_page(folder / "report.html", scored)
    (folder / "videos").mkdir()
    (folder / "videos" / "video_0.mp4").touch()  # which is none
    write_page(folder / "videos.html", scored, folder / "videos")
    other = made_up(num_videos=30, blur_sec=1.5)
    runs = {"a": scored.detections, HOSTILE: other.detections}
    comparison = compare(scored.videos, runs, num_resamples=100)
    write_comparison_page(folder / "comparison.html", comparison, None)
    return folder


@pytest.fixture
def opened(browser, folder):
    """Opens a page of the folder; in the end nothing was told and nothing else was asked for."""
    told, asked, pages = [], [], []

    def open_page(name, **options):
        page = browser.new_page(viewport={"width": 1200, "height": 900}, **options)
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((folder / name).as_uri())
        pages.append((folder / name).as_uri())
        return page

    yield open_page
    assert told == [] and asked == pages


def set_threshold(page, value):
    page.locator("#threshold").evaluate(
        """(slider, value) => {
          slider.value = value;
          slider.dispatchEvent(new Event("input"));
          slider.dispatchEvent(new Event("change"));
        }""",
        value,
    )


def count_bars(page, kinds):
    """How many bars of each kind (a selector) all videos have; only those on screen are drawn."""
    if page.locator("#all").is_visible():
        page.locator("#all").click()
    return page.evaluate(
        """async (kinds) => {
          for (let frame = 0; frame < 3; frame += 1) await new Promise(requestAnimationFrame);
          window.dispatchEvent(new Event("beforeprint"));  // which draws the others, too
          return kinds.map((kind) => document.querySelectorAll(kind).length);
        }""",
        kinds,
    )


def test_threshold_changes_bars_and_scores(opened):
    page, scored = opened("report.html"), made_up(num_videos=30)
    for steps in (0, 3000, 7000):
        set_threshold(page, steps)
        found, right, known = count_bars(page, [".bar.found", ".found.good.bar", ".truth.good.bar"])
        above = score_above(scored.videos, scored.detections, steps / 10_000)
        assert found == above.found.sum() == int(page.inner_text("#bars"))
        assert right == known == above.right.sum()
        assert page.inner_text("#f1") == f"{100 * above.f1:.1f} %"
        assert page.inner_text("#precision") == f"{100 * above.precision:.1f} %"
        assert page.inner_text("#recall-exact") == f"{100 * above.recall:.1f} %"


def test_tiou_can_be_chosen(opened):
    page, scored = opened("report.html"), made_up(num_videos=30)
    set_threshold(page, 3000)
    page.select_option("#tiou", label="0.70")
    above = score_above(scored.videos, scored.detections, 0.3, 0.7)
    assert page.inner_text("#f1") == f"{100 * above.f1:.1f} %"


def test_search_filters_and_the_worst_come_first(opened):
    page = opened("report.html")
    assert page.inner_text("#shown") == "12 of 30 videos"
    f1 = [
        float(text.split("F1 ")[1].rstrip(" %"))
        for text in page.locator(".counts").all_inner_texts()
    ]
    assert f1 == sorted(f1) and f1[0] < f1[-1]
    page.fill("#search", "VIDEO_12")
    assert page.locator("article.video h3").all_inner_texts() == ["video_12"]
    page.fill("#search", "jump")  # a class
    assert 0 < page.locator("article.video").count() <= 12
    page.fill("#search", "nobody")
    assert page.locator("article.video").count() == 0
    assert "No video or class" in page.inner_text("#shown")


def test_names_of_others_stay_text(opened):
    page = opened("report.html")
    page.fill("#search", "video 1 ")
    assert page.locator("article.video h3").inner_text() == f"video 1 {HOSTILE}"
    assert page.title() == "made up: what was found"


def test_keyboard(opened):
    page = opened("report.html")
    bar = page.locator(".bar[tabindex='0']").first
    bar.focus()
    first = page.evaluate("document.activeElement.getAttribute('aria-label')")
    told = page.locator(".told").first
    assert told.inner_text() == first
    seen = {first}
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
        label = page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert label.startswith(("Happened: ", "Detected: "))
        assert told.inner_text() == label
        seen.add(label)
    assert len(seen) >= 3
    width = page.evaluate("document.activeElement.ownerSVGElement.getAttribute('width')")
    page.keyboard.press("+")
    # The bar that has the focus keeps it, twice as far from the start.
    wider = page.evaluate("document.activeElement.ownerSVGElement.getAttribute('width')")
    assert float(wider) == 2 * float(width)
    page.locator("#threshold").focus()
    before = page.inner_text("#threshold-value")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#threshold-value") != before


def test_table_in_place_of_a_timeline(opened):
    page = opened("report.html")
    article = page.locator("article.video").first
    article.get_by_role("button", name="Table").click()
    rows = article.locator("tbody tr").count()
    assert rows == article.locator(".bar").count() > 0
    article.get_by_role("button", name="Table").click()
    assert article.locator("tbody").count() == 0


def test_a_click_asks_for_the_video(browser, folder):
    page = browser.new_page()
    page.goto((folder / "videos.html").as_uri())
    page.fill("#search", "video_0")
    page.locator(".bar").first.click()
    source = page.locator("article.video video").first.evaluate("video => video.src")
    assert source == (folder / "videos" / "video_0.mp4").as_uri()
    # It was looked for, which the policy allows, and is no video.
    page.get_by_text("The video cannot be played").wait_for()
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_wider_than_the_window(opened, width, scheme, tmp_path):
    page = opened("report.html", color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    picture = page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert len(picture) > 10_000  # a picture of nothing is smaller
    assert page.locator("figure.chart svg").count() == page.locator("figure.chart").count()


def test_comparison(opened):
    page = opened("comparison.html")
    page.locator(".whisker").first.wait_for(state="attached")
    assert page.locator(".whisker").count() == 5 + 1 + 1 + 3  # tIoU, average, F1, classes
    assert HOSTILE in page.title()
