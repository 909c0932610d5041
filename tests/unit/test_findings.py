"""What is said of findings."""

from gridfsmount.checking.findings import ADVICE, REPAIRABLE, Fault


def test_every_fault_has_its_advice() -> None:
    assert set(ADVICE) == set(Fault)
    for fault in REPAIRABLE:
        assert "check --repair" in ADVICE[fault]
    for fault in set(Fault) - REPAIRABLE:
        assert "check --repair" not in ADVICE[fault]
