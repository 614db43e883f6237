"""The page in a real browser: the wipe and the flags are clicked, and what is seen is looked at."""

from pathlib import Path

import numpy as np
import pytest

from mien.commands.qc import QcArguments, check_shot
from qc.browser import browsing
from qc.rendered import PLATE, RESULT, rendered

COLOR = """
const canvas = document.getElementById("picture"), box = canvas.getContext("2d");
const x = Math.round(arguments[0] * canvas.width), y = Math.round(arguments[1] * canvas.height);
return [...box.getImageData(x, y, 1, 1).data].slice(0, 3);
"""
READY = """
return document.querySelectorAll(".thumb").length && [...document.querySelectorAll(".thumb i")].some(
  (one) => one.style.backgroundImage) ? document.body.dataset.frame : null;
"""


def silent(_event: object) -> None:
    pass


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page on a shot with flaws in some frames, and a browser that shows it."""
    folder = tmp_path_factory.mktemp("shot")
    area = {1005: 2500.0, 1020: 3600.0, 1021: 3610.0}
    rendered(folder, count=40, area=area, unsound={1030: 7})
    asked = QcArguments(folder / "out", flags=(("1033", "soft at the jaw"),), by="A. Supervisor")
    outcome = check_shot(asked, silent)
    with browsing(tmp_path_factory.mktemp("browser")) as browser:
        browser.open(Path(outcome.written[0]))
        for _ in range(100):
            if browser.run(READY):
                break
        yield browser


def near(color, other) -> bool:
    return bool(np.abs(np.array(color, int) - other).max() < 12)


def frame(browser) -> int:
    return int(browser.run("return document.body.dataset.frame"))


def test_nothing_is_wrong_with_the_page(page):
    assert page.complaints() == []
    assert page.run("return document.querySelectorAll('.curve').length") == 7
    assert page.run("return document.querySelectorAll('.curve path.line')[3].getAttribute('d').length") > 100
    words = page.run("return document.body.innerText")
    for said in ("Not ready", "Nobody", "R-17", "soft at the jaw", "7 pixels of the result"):
        assert said in words
    assert page.run("return document.documentElement.scrollWidth <= window.innerWidth")


def test_the_gravest_flag_stands_first_and_is_shown(page):
    assert page.run("return document.querySelector('.flag').dataset.frame") == "1030"


def test_a_click_on_a_flag_shows_its_frame(page):
    page.click(".flag[data-frame='1033']")
    assert frame(page) == 1033
    assert "A. Supervisor" in page.run("return document.getElementById('reasons').innerText")
    assert page.run("return document.querySelector('.thumb.on b').textContent") == "1033"


def test_the_wipe_goes_where_it_is_clicked(page):
    page.click("[data-mode=wipe]")
    for at in (0.4, 0.6):
        page.press("#picture", at)
        left, right = (page.run(COLOR, place, 0.3) for place in (at - 0.05, at + 0.05))
        assert near(left, PLATE) and near(right, RESULT), (at, left, right)


def test_plate_result_matte_and_difference(page):
    seen = {}
    for mode in ("plate", "result", "matte", "difference"):
        page.click(f"[data-mode={mode}]")
        seen[mode] = page.run(COLOR, 0.5, 0.3)
    assert near(seen["plate"], PLATE) and near(seen["result"], RESULT)
    # Red is screened over the result where the matte is white.
    assert seen["matte"][0] > RESULT[0] and seen["matte"] != seen["result"]
    assert near(seen["difference"], np.minimum(4 * np.abs(np.subtract(PLATE, RESULT)), 255))
    page.click("[data-mode=wipe]")


def test_a_kind_of_flag_can_be_singled_out(page):
    count = page.run("return document.querySelectorAll('.flag').length")
    page.click(".chip[data-kind=matte]")
    kinds = page.run("return [...document.querySelectorAll('.flag')].map((one) => one.dataset.kind)")
    assert kinds and set(kinds) == {"matte"} and len(kinds) < count
    page.click(".chip[data-kind=matte]")
    assert page.run("return document.querySelectorAll('.flag').length") == count


def test_thumbs_curves_and_keys_lead_to_frames(page):
    page.run("document.querySelector('.thumb[data-row=\"2\"]').click()")
    assert frame(page) == 1003
    page.run("document.querySelector('.curve svg').scrollIntoView()")
    page.press(".curve svg", 0.5)
    assert frame(page) in (1020, 1021)
    page.keys("\ue012")
    assert frame(page) in (1019, 1020)
    page.keys("n")
    assert frame(page) in (1020, 1021)
