"""The page in a real browser: what people see, with the eyes, the keyboard or a screen reader."""

import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.mounting import eventually
from tests.web.exhibits import HOSTILE
from tests.web.serving import Served

PATHS = (
    "/",
    "/datasets/digits",
    "/datasets/digits/versions/v2",
    "/datasets/digits/diff?a=v1&b=v2",
    "/snapshots",
    "/nothing/here",
)

# What a keyboard must reach.
ACTIVE = "a[href], button, select, [tabindex='0']"

STRUCTURE = """
const faults = [];
const all = query => [...document.querySelectorAll(query)];
const one = query => { if (all(query).length !== 1) faults.push(`${all(query).length} ${query}`); };
['html[lang]', 'main', 'h1', 'body > header', 'body > footer', 'head > title'].forEach(one);
let level = 0;
for (const heading of all('h1, h2, h3, h4')) {
  const here = Number(heading.tagName[1]);
  if (here > level + 1) faults.push(`${heading.tagName} after h${level}: ${heading.textContent}`);
  level = here;
}
const ids = all('[id]').map(each => each.id);
if (new Set(ids).size !== ids.length) faults.push('an id twice');
for (const name of ['aria-labelledby', 'aria-describedby'])
  for (const each of all(`[${name}]`))
    if (!document.getElementById(each.getAttribute(name))) faults.push(`${name} of nothing`);
for (const each of all('a[href^="#"]'))
  if (!document.getElementById(each.hash.slice(1))) faults.push(`${each.hash} leads to nothing`);
for (const table of all('table')) {
  if (![...table.querySelectorAll('thead th')].every(each => each.scope === 'col'))
    faults.push('a column without a title');
  if (!table.caption && !table.closest('[role=region][aria-labelledby]'))
    faults.push('a table without a name');
}
if (all('script, iframe, [style], [onclick], [onerror], style').length) faults.push('a script');
return faults;
"""

CONTRAST = """
const channel = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const numbers = text => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const behind = element => {
  for (; element; element = element.parentElement) {
    const box = element.matches('.box') && element.querySelector('rect');
    const colour = numbers(box ? getComputedStyle(box).fill
                               : getComputedStyle(element).backgroundColor);
    if (colour.length === 3 || colour[3] > 0) return colour;
  }
};
const weak = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || element.closest('title, .hidden, .skip')) continue;
  const style = getComputedStyle(element);
  const ink = numbers(element.closest('svg') ? style.fill : style.color);
  const [a, b] = [light(ink), light(behind(element))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5)
    weak.push(`${walker.currentNode.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
}
return weak;
"""


@pytest.fixture(params=PATHS)
def shown(request: pytest.FixtureRequest, page: Served, chrome: Chrome) -> Chrome:
    """A browser at each of the pages."""
    chrome.get(page.url + request.param)
    return chrome


def follow(chrome: Chrome, element: WebElement) -> None:
    """Click on what leads to another page, and wait until that is there."""
    before = chrome.current_url
    element.click()
    eventually(lambda: chrome.current_url != before, "the other page comes")
    eventually(
        lambda: chrome.execute_script("return document.readyState") == "complete", "all of it"
    )


def texts(chrome: Chrome, query: str) -> list[str]:
    return [each.text for each in chrome.find_elements(By.CSS_SELECTOR, query)]


def test_the_first_page_tells_at_once_whether_all_is_well(page: Served, chrome: Chrome) -> None:
    chrome.get(page.url)
    assert chrome.find_element(By.TAG_NAME, "h1").text.endswith("All is well")
    assert chrome.title.startswith("All is well")
    facts = dict(zip(texts(chrome, ".facts dt"), texts(chrome, ".facts dd"), strict=True))
    assert facts["versions"] == "3 datasets, 1 model: 2 drafts, 12 sealed"
    assert facts["backups"].startswith("nas: backed up ")


def test_the_first_page_leads_to_every_dataset_and_model(page: Served, chrome: Chrome) -> None:
    chrome.get(page.url)
    rows = texts(chrome, "tbody tr")
    assert [row.split()[0] for row in rows] == ["digits", "street-signs", "voices", "reader"]
    assert "sealed" in rows[0]
    assert "472.0 MiB" in rows[0]
    follow(chrome, chrome.find_element(By.LINK_TEXT, "reader"))
    assert urlsplit(chrome.current_url).path == "/models/reader"


def test_a_dataset_shows_its_versions_and_where_they_came_from(
    page: Served, chrome: Chrome
) -> None:
    chrome.get(page.url + "/datasets/digits")
    rows = texts(chrome, "tbody tr")
    assert [row.split()[0] for row in rows] == ["v4", "v3", "v2", "v1"]
    assert "labels cleaned" in rows[2]
    assert "production" in rows[2]
    assert "fork of datasets/digits/v1" in rows[2]
    assert "used by models/reader/r2" in rows[2]
    boxes = chrome.find_elements(By.CSS_SELECTOR, "svg.lineage .box")
    assert sorted(each.get_attribute("aria-label") or "" for each in boxes) == [
        *(f"datasets/digits/v{number}" for number in range(1, 5)),
        *(f"models/reader/r{number}" for number in range(1, 4)),
    ]
    assert len(chrome.find_elements(By.CSS_SELECTOR, "svg.lineage path.fork")) == 3
    assert len(chrome.find_elements(By.CSS_SELECTOR, "svg.lineage path.made")) == 3
    assert len(chrome.find_elements(By.CSS_SELECTOR, "svg.chart circle")) == 4


def test_versions_are_compared_with_what_they_were_forked_from(
    page: Served, chrome: Chrome
) -> None:
    chrome.get(page.url + "/datasets/digits")
    follow(chrome, chrome.find_element(By.PARTIAL_LINK_TEXT, "since v1"))
    rows = [row.split(maxsplit=1) for row in texts(chrome, "tbody tr")]
    assert sorted(word for word, _ in rows) == [
        "added",
        "added",
        "changed",
        "permissions",
        "removed",
        "renamed",
    ]
    assert dict(rows)["renamed"].startswith("images-004.png → images-scan-4.png")
    assert dict(rows)["permissions"].endswith("0644 → 0600")
    chrome.find_element(By.CSS_SELECTOR, "select[name=b] option:last-child").click()
    follow(chrome, chrome.find_element(By.TAG_NAME, "button"))
    assert "No difference" in texts(chrome, "h2")


def test_a_calendar_shows_on_which_days_backups_are_good(page: Served, chrome: Chrome) -> None:
    chrome.get(page.url + "/snapshots")
    days = chrome.find_elements(By.CSS_SELECTOR, ".calendar a")
    looks = [each.get_attribute("class") for each in days]
    assert (looks.count("verified"), looks.count("unverified"), looks.count("damaged")) == (
        18,
        3,
        1,
    )
    damaged = days[looks.index("damaged")]
    assert "1 snapshot, damaged" in (damaged.get_attribute("textContent") or "")
    follow(chrome, damaged)
    target = chrome.find_element(By.CSS_SELECTOR, "tr:target")
    assert "damaged 2 blobs" in target.text


def test_nothing_is_asked_of_anybody_but_the_page_s_own_server(
    page: Served, chrome: Chrome
) -> None:
    chrome.get_log("performance")
    chrome.get_log("browser")
    for path in PATHS:
        chrome.get(page.url + path)
    asked = [
        event["params"]["request"]["url"]
        for entry in chrome.get_log("performance")
        if (event := json.loads(entry["message"])["message"])["method"]
        == "Network.requestWillBeSent"
    ]
    assert len(asked) >= len(PATHS)
    own = urlsplit(page.url).netloc
    assert {urlsplit(each).netloc for each in asked if not each.startswith("data:")} == {own}
    complaints = [each["message"] for each in chrome.get_log("browser")]
    assert [each for each in complaints if "/nothing/here" not in each] == []


def test_names_of_files_are_shown_and_do_nothing(page: Served, chrome: Chrome) -> None:
    chrome.get(page.url + "/datasets/digits/diff?a=v1&b=v2")
    name = HOSTILE.replace("\u202e", "\\u202e")
    assert any(name in row for row in texts(chrome, "tbody tr"))
    assert not chrome.find_elements(By.TAG_NAME, "img")


def test_landmarks_headings_and_tables_say_what_they_are(shown: Chrome) -> None:
    assert shown.execute_script(STRUCTURE) == []


def test_whatever_can_be_used_has_a_name_for_screen_readers(shown: Chrome) -> None:
    nodes: list[dict[str, Any]] = shown.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = [each["role"]["value"] for each in nodes if not each["ignored"]]
    assert {"banner", "main", "contentinfo", "navigation"} <= set(roles)
    used = {"link", "button", "combobox", "region", "table", "image", "img", "group", "graphics"}
    unnamed = [
        each["role"]["value"]
        for each in nodes
        if not each["ignored"]
        and each["role"]["value"] in used
        and not each.get("name", {}).get("value", "").strip()
    ]
    assert [each for each in unnamed if each != "table"] == []


def test_the_keyboard_reaches_all_that_the_mouse_does(shown: Chrome) -> None:
    wanted = len(shown.find_elements(By.CSS_SELECTOR, ACTIVE))
    keys = ActionChains(shown)
    for _ in range(wanted):
        keys.send_keys(Keys.TAB)
        # Whoever uses it must see where they are.
    shown.execute_script(
        """window.reached = new Set(); window.unseen = [];
        document.addEventListener('focusin', event => {
          const element = event.target;
          window.reached.add(element);
          const mark = element.matches('a.box')
            ? getComputedStyle(element.querySelector('rect')).strokeWidth === '3px'
            : element.matches('.skip') || getComputedStyle(element).outlineStyle !== 'none';
          if (!mark) window.unseen.push(element.outerHTML);
        });"""
    )
    keys.perform()
    reached, unseen = shown.execute_script("return [window.reached.size, window.unseen]")
    assert (reached, unseen) == (wanted, [])


def test_text_stands_out_in_light_and_dark(shown: Chrome) -> None:
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        assert shown.execute_script(CONTRAST) == [], scheme
    shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_narrow_screen_needs_no_sideways_scrolling(shown: Chrome) -> None:
    narrow = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    shown.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    try:
        assert shown.execute_script("return document.documentElement.scrollWidth") <= 400
    finally:
        shown.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
