"""One lake, one page and one browser for all that only looks."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.mongod import Mongod
from tests.store.lakes import opened
from tests.web import exhibits
from tests.web.serving import Served, browser, served


@pytest.fixture(scope="session")
def exhibition(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a lake with datasets and models; its config file is in `page`."""
    uri = mongod.uri_for("exhibition")
    with opened(uri) as lake:
        exhibits.fill(lake)
    yield uri
    with mongod.client() as client:
        client.drop_database("exhibition")


@pytest.fixture(scope="session")
def page(exhibition: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page of that lake, with a vault called nas."""
    folder = tmp_path_factory.mktemp("page")
    with opened(exhibition) as lake:
        exhibits.stock_vault(folder, lake.id).close()
        exhibits.note_runs(lake, "nas")
    with served(folder, "--config", config_for(folder), exhibition) as found:
        yield found


@pytest.fixture(scope="session")
def chrome() -> Iterator[Chrome]:
    with browser() as driver:
        yield driver


def config_for(folder: Path) -> Path:
    config = folder / "lake.toml"
    config.write_text(f'[vaults]\nnas = "{folder}/vault"\n')
    return config
