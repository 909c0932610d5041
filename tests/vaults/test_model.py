"""Any list of operations leaves a vault that holds what a dictionary would."""

import contextlib
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridfsmount.core.vault import Vault
from gridfsmount.errors import Damaged
from tests.vaults.stores import Store, sha256

DATAS = [b"", b"one", b"two", b"three " * 1000, bytes((1 << 20) + 1)]

some = st.lists(st.sampled_from(DATAS), max_size=4)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(DATAS).map(lambda data: [data])),
        *(st.tuples(st.just(name), some) for name in ("put_many", "remove", "good", "bad")),
        st.tuples(st.just("claim"), some),
    ),
    max_size=12,
)


def do(vault: Vault, model: dict[bytes, bool], name: str, datas: list[bytes]) -> None:
    """One operation, on the vault and on the model: whether each blob is good."""
    blobs = [sha256(each) for each in datas]
    match name:
        case "put":
            vault.put(blobs[0], len(datas[0]), [datas[0]])
        case "put_many":
            vault.put_many(list(zip(blobs, datas, strict=True)))
        case "remove":
            vault.remove(blobs)
        case "claim":
            with vault.claim("test", "me") as claim:
                claim.renew()
        case _:
            vault.note_verified(dict.fromkeys(blobs, name == "good"))
    for each in blobs:
        if name.startswith("put"):
            model[each] = True
        elif name == "remove":
            model.pop(each, None)
        elif name != "claim" and each in model:
            model[each] = name == "good"


def compare(vault: Vault, model: dict[bytes, bool]) -> None:
    good = {blob for blob, right in model.items() if right}
    assert vault.present([sha256(each) for each in DATAS]) == good
    assert {each.sha256: not each.damaged for each in vault.blobs()} == model
    for data in DATAS:
        found: Any = None
        with contextlib.suppress(Damaged):
            found = vault.read(sha256(data), 0, 2 << 20)
        assert found == (data if sha256(data) in model else None)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations)
def test_a_vault_holds_what_a_dictionary_would(
    store: Store, steps: list[tuple[str, list[bytes]]]
) -> None:
    model: dict[bytes, bool] = {}
    with store.opened() as vault:
        vault.remove([sha256(each) for each in DATAS])
        for name, datas in steps:
            do(vault, model, name, datas)
        compare(vault, model)
        assert store.leftovers() == 0
