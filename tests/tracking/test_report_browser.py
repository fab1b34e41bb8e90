"""The report page in a real browser: Debian's Chromium, driven by Selenium."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path

import pytest
from report_runs import NASTY, make_run

from imettk.tracking import report as report_module
from imettk.tracking.report import write_report

BROWSER, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
pytestmark = [
    pytest.mark.skipif(
        not (BROWSER and DRIVER), reason="no chromium and chromedriver: apt-get install chromium-driver"
    ),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Selenium's, about its own sockets
]
AXE = files("selenium_axe_python") / "axe-core" / "axe.min.js"
WIDTHS = {"phone": 390, "desktop": 1280}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Yield a browser with a page of two runs open."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    folder = tmp_path_factory.mktemp("browser")
    runs = [make_run(folder / "one"), make_run(folder / "two")]
    write_report(runs, folder / "page.html")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_module, "AMOUNTS", ((2, 8),))
        write_report(runs, folder / "small.html")
    options = ChromeOptions()
    options.binary_location = BROWSER
    for word in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", f"user-data-dir={folder / 'profile'}",
    ):  # fmt: skip
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(300)  # axe looks at thousands of elements
    try:
        driver.get((folder / "page.html").as_uri())
        yield driver
    finally:
        driver.quit()


def column(browser, name: str) -> list[str]:
    """Return the visible cells of a column of the first table of labels."""
    return browser.execute_script(
        """const table = document.querySelector("table.sortable");
        const place = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.trim() === arguments[0]);
        return [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[place].textContent);""",
        name,
    )


def resize(browser, width: str) -> None:
    """Give the page the size of a phone or a desktop."""
    metrics = {"width": WIDTHS[width], "height": 900, "deviceScaleFactor": 1, "mobile": width == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def prefer(browser, colours: str) -> None:
    """Ask for the light or the dark page."""
    feature = {"name": "prefers-color-scheme", "value": colours}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def click(browser, name: str) -> None:
    buttons = browser.find_elements("css selector", "table.sortable button")
    next(button for button in buttons if button.text.split(" ▲")[0].split(" ▼")[0] == name).click()


def test_nothing_is_wrong_and_every_picture_is_there(browser):
    assert browser.get_log("browser") == []
    shown = browser.execute_script(
        """const images = [...document.images]; images.forEach((image) => image.loading = "eager");
        return Promise.all(images.map((image) => image.decode().then(() => image.naturalWidth)));"""
    )
    assert len(shown) > 100 and min(shown) > 0
    charts = browser.execute_script(
        "return [...document.querySelectorAll('svg')].map((svg) => svg.getBoundingClientRect().height)"
    )
    assert len(charts) == 28 and min(charts) > 40
    assert not browser.execute_script("return document.querySelector('td script')")
    assert column(browser, "label")[0] == NASTY


@pytest.mark.parametrize(("width", "colours"), [("phone", "light"), ("desktop", "dark")])
def test_axe_finds_nothing_that_keeps_a_reader_out(browser, width, colours):
    """Check contrast, names for screen readers and keyboard access, with everything unfolded.

    The page has two pictures of each kind, and charts, which are an image each, are emptied: axe is slow.
    """
    browser.get(browser.current_url.replace("page.html", "small.html"))
    resize(browser, width)
    prefer(browser, colours)
    browser.execute_script(
        """document.querySelectorAll("details").forEach((box) => box.open = true);
        document.querySelectorAll("svg").forEach((chart) => chart.replaceChildren());"""
    )
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    result = browser.execute_async_script(
        """const done = arguments[arguments.length - 1];
        axe.run({resultTypes: ["violations"]}).then(done, (error) => done({error: `${error}`}));"""
    )
    browser.get(browser.current_url.replace("small.html", "page.html"))
    violations = [(rule["id"], rule["impact"], rule["nodes"][0]["html"][:200]) for rule in result["violations"]]
    assert len(result["passes"]) > 30 and violations == []


def test_a_tooltip_opens_by_keyboard_and_closes_with_escape(browser):
    from selenium.webdriver.common.keys import Keys

    browser.execute_script("document.activeElement.blur()")
    term = browser.find_element("css selector", "dl .term button")
    tip = browser.find_element("id", term.get_attribute("aria-describedby"))
    assert not tip.is_displayed()
    browser.execute_script("arguments[0].focus()", term)
    assert tip.is_displayed() and tip.text.startswith("Weighs precision")
    term.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()


def test_only_boxes_that_scroll_are_stops_of_the_keyboard(browser):
    resize(browser, "phone")
    browser.execute_script("dispatchEvent(new Event('resize'))")
    boxes = browser.execute_script(
        """return [...document.querySelectorAll(".scroll, .drawing, .line")].map((box) =>
        [box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1, box.tabIndex === 0])"""
    )
    assert all(scrolls == stops for scrolls, stops in boxes) and {True, False} == {scrolls for scrolls, _ in boxes}


def test_the_table_sorts_both_ways_and_finds(browser):
    for name, kind in (("true", float), ("label", str.lower), ("f beta", float)):
        click(browser, name)
        down = [kind(cell) for cell in column(browser, name)]
        click(browser, name)
        up = [kind(cell) for cell in column(browser, name)]
        assert down == sorted(down, reverse=True) and up == sorted(up)
        assert sorted(down) == up and len(set(up)) > 20
    for _ in range(2):  # what is not known stands last, either way
        click(browser, "average precision")
        assert column(browser, "average precision")[0] == "0.950"
    field = browser.find_element("css selector", "input[type=search]")
    field.send_keys("LABEL 2")
    assert set(column(browser, "label")) == {"label 2", *(f"label {number}" for number in range(20, 29))}
    assert "10 found." in browser.find_element("css selector", "[role=status]").text
    field.clear()
    field.send_keys(" ")


@pytest.mark.parametrize("width", list(WIDTHS))
def test_it_fits_a_telephone_and_a_desktop(browser, width, tmp_path):
    resize(browser, width)
    wide, window = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= window == WIDTHS[width]  # nothing but tables has to be moved sideways
    left, next_left = browser.execute_script(
        """return [...document.querySelectorAll(".runs > .run")].slice(0, 2)
        .map((run) => run.getBoundingClientRect().left)"""
    )
    assert (left == next_left) is (width == "phone")  # below each other, or side by side
    assert browser.save_screenshot(str(Path(tmp_path, f"{width}.png")))


def test_light_and_dark(browser):
    colours = []
    for value in ("light", "dark"):
        prefer(browser, value)
        colours.append(
            browser.execute_script(
                """const ink = getComputedStyle(document.querySelector("svg text")).fill;
                return [getComputedStyle(document.body).backgroundColor, ink]"""
            )
        )
    (light, ink), (dark, pale_ink) = colours
    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(13, 17, 23)")
    assert (ink, pale_ink) == ("rgb(31, 35, 40)", "rgb(230, 237, 243)")
