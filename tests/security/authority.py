"""Certificates made by the commands of docs/security.md, and others that are wrong."""

import subprocess
from pathlib import Path
from typing import Final

from tests.security.documented import blocks

SUBJECT: Final = "CN=gpu1,OU=clients,O=Example"
"""Of the documented client's certificate."""


def make(folder: Path) -> None:
    """Run what the document says, for a server on this machine."""
    (script,) = blocks("sh")
    run(script.replace("db.example.org", "localhost").replace("192.0.2.10", "127.0.0.1"), folder)


def make_wrong(folder: Path) -> None:
    """Beside the right ones: another authority, expired and encrypted ones, a name of elsewhere."""
    run(
        r"""
        new="openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc"
        $new -x509 -subj "/CN=another" -keyout another.key -out another.pem
        $new -subj "/O=Example/CN=elsewhere" -addext "subjectAltName=DNS:elsewhere" \
            -keyout elsewhere.key -out elsewhere.csr
        sign="openssl x509 -req -CA ca.pem -CAkey ca.key -copy_extensions copy"
        $sign -in elsewhere.csr -days 365 -out elsewhere.crt
        $sign -in server.csr -days -1 -out expired-server.crt
        $sign -in gpu1.csr -days -1 -out expired.crt
        cat elsewhere.key elsewhere.crt > elsewhere.pem
        cat gpu1.key expired.crt > expired.pem
        openssl x509 -req -CA another.pem -CAkey another.key -in gpu1.csr -days 365 -out foreign.crt
        cat gpu1.key foreign.crt > foreign.pem
        cat another.key gpu1.crt > mixed.pem
        openssl ec -in gpu1.key -aes256 -passout pass:sekret -out locked.key
        cat locked.key gpu1.crt > locked.pem
        cp gpu1.pem open.pem
        echo nothing > junk.pem
        chmod 600 *.pem
        chmod 644 open.pem ca.pem
        """,
        folder,
    )


def run(script: str, folder: Path) -> None:
    """Run a shell script; its first failure is one."""
    done = subprocess.run(
        ["sh", "-ec", script], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
