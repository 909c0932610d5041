"""Makes the pictures of docs/web.md: `python -m tests.web`."""

import sys
import tempfile
from pathlib import Path

from selenium.webdriver import Chrome

from tests.mongod import Mongod
from tests.store.lakes import opened
from tests.web import exhibits
from tests.web.serving import browser, served

DOCS = Path(__file__).parents[2] / "docs"
WIDTH = 1180

LIGHT = (("/", "catalogue", 780), ("/datasets/digits", "dataset", 1000))
DARK = (("/snapshots", "snapshots", 780),)
"""Pages, names of their pictures, and pixels of height: what is below is left out."""


def main(folder: Path) -> None:
    """Take the pictures, into `folder`."""
    with Mongod() as server, tempfile.TemporaryDirectory() as temporary:
        uri = server.uri_for("lake")
        scratch = Path(temporary)
        with opened(uri) as lake:
            exhibits.fill(lake)
            vault = exhibits.stock_vault(scratch, lake.id)
            exhibits.note_runs(lake, "nas")
            vault.close()
        config = scratch / "lake.toml"
        config.write_text(f'[vaults]\nnas = "{scratch}/vault"\n')
        with served(scratch, "--config", config, uri) as page:
            for dark in (False, True):
                flags = ("--blink-settings=preferredColorScheme=0",) if dark else ()
                with browser(*flags, width=WIDTH) as driver:
                    for path, title, most in DARK if dark else LIGHT:
                        driver.get(page.url + path)
                        take(driver, folder / f"web-{title}.png", most)


def take(driver: Chrome, file: Path, most: int) -> None:
    """A picture of the whole page, up to so many pixels of its height."""
    driver.set_window_size(WIDTH, 300)
    height, frame = driver.execute_script(
        "return [document.documentElement.scrollHeight, outerHeight - innerHeight]"
    )
    driver.set_window_size(WIDTH, min(int(height), most) + int(frame))
    driver.save_screenshot(str(file))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS)
