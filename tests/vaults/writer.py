"""Writes to a vault until it is killed; says on its output what was done for good.

python -m tests.vaults.writer FOLDER        the vault's address comes on the input
"""

import random
import sys
from itertools import count
from pathlib import Path

from gridfsmount.vaults.opening import open_vault
from tests.vaults.stores import sha256, summary_of


def blob_of(number: int) -> bytes:
    """Bytes of a blob, by its number: some of several chunks."""
    size = (3 << 20) + 5 if number % 7 == 0 else number % 5000
    return b"%d " % number + bytes(size)


def name_of(number: int) -> str:
    return f"2026-01-01T{number // 3600:02}-{number // 60 % 60:02}-{number % 60:02}Z"


def write(address: str, folder: Path, first: int) -> None:
    choose = random.Random(first)
    vault = open_vault(address)
    with vault.claim("writer", "test@here") as claim:
        print("claimed", flush=True)
        for number in count(first, 20):
            claim.renew()
            data = blob_of(number)
            small = [blob_of(number + n) for n in range(1, 20) if (number + n) % 7]
            step = choose.randrange(4)
            if step == 0:
                vault.put(sha256(data), len(data), [data[: 1 << 20], data[1 << 20 :]])
                print("blobs", number, flush=True)
            elif step == 1:
                vault.put_many([(sha256(each), each) for each in small])
                print("blobs", *(n for n in range(number + 1, number + 20) if n % 7), flush=True)
            elif step == 2:
                manifest = folder / "manifest"
                manifest.write_bytes(data)
                vault.publish(name_of(number), manifest, summary_of(data, files=number))
                print("snapshot", number, flush=True)
            else:
                vault.set_note("last", b"%d" % number * 1000)
                print("note", number, flush=True)


if __name__ == "__main__":
    write(sys.stdin.readline().strip(), Path(sys.argv[1]), int(sys.argv[2]))
