"""A server with TLS and access control, set up as docs/security.md says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mongod import Mongod
from tests.security import authority
from tests.security.documented import blocks


@pytest.fixture(scope="package")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the document's certificates, and wrong ones beside them."""
    folder = tmp_path_factory.mktemp("certificates")
    authority.make(folder)
    authority.make_wrong(folder)
    return folder


@pytest.fixture(scope="package")
def secured(certificates: Path) -> Iterator[Mongod]:
    """A replica set that wants a certificate, and a user, of every client."""
    (settings,) = blocks("yaml")
    config = certificates / "mongod.conf"
    config.write_text(settings.replace("/etc/mongodb", str(certificates)))
    query = tls(certificates)
    with Mongod(auth=True, extra=("--config", str(config)), query=query) as server:
        yield server


def tls(certificates: Path, ca: str = "ca", key: str = "gpu1") -> str:
    """What an address has at its end, with names of files without their `.pem`."""
    files = f"&tlsCAFile={certificates}/{ca}.pem"
    return f"&tls=true{files}" + (f"&tlsCertificateKeyFile={certificates}/{key}.pem" if key else "")
