"""The command: which checks there are, and how their findings are told."""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import click

from gridfsmount.addresses import known_embedded, known_uri, read_config, redact
from gridfsmount.cli.doctor import backups, machine, mounts
from gridfsmount.cli.doctor.asking import Check, ask
from gridfsmount.cli.doctor.findings import Finding, Verdict, warning
from gridfsmount.cli.lakes import LakeChoice, lake_options, says_errors, uri_option
from gridfsmount.cli.settings import Settings, read_settings
from gridfsmount.cli.vaults import VaultChoice, choose_vaults, vault_option
from gridfsmount.core.wording import counted, printable
from gridfsmount.errors import ConfigError
from gridfsmount.mount.mountpoint import mounted_lakes

Document: TypeAlias = Mapping[str, Any]
"""A config file."""

PROBLEMS: Final = 1
"""Exit code when something does not work."""

QUICK: Final = 5.0
"""Seconds for what asks nobody but this machine."""

PATIENT: Final = 15.0
"""Seconds for one answer of a server, or of a disk that has to wake up."""

_COLOURS: Final = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.PROBLEM: "red"}


@click.command()
@click.argument("arguments", nargs=-1, metavar="[URI] [MOUNTPOINT]")
@uri_option
@lake_options
@vault_option
@click.option(
    "--disk-cache",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder that is, or will be, a disk cache.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@says_errors(code=2)
def doctor(
    arguments: tuple[str, ...],
    uri: str | None,
    choice: LakeChoice,
    vaults: tuple[str, ...],
    disk_cache: Path | None,
    as_json: bool,
) -> None:
    """Find out what is wrong, and tell how to mend it.

    Looks at this machine (FUSE, limits, the config file, folders, units of systemd), at its
    mounts, at the lake (network, TLS, rights, indexes, clock, space), and at the vaults. The lake
    is that of URI, of the config file, or of what is mounted on MOUNTPOINT. With a MOUNTPOINT no
    other mount is looked at; nothing needs to be mounted there yet. Nothing is changed, and what
    hangs is named.

    The exit code is 0 when nothing is a problem, 1 when something is, 2 for a command line that
    makes no sense.
    """
    given, point = _split(arguments)
    uri = uri or given
    findings = ask(list(_checks(uri, point, choice, vaults, disk_cache)))
    if not _is_named(uri, point, choice, _settings(choice)[1]):
        mend = "give its address, or a mount point"
        findings.append(warning("lake", "none was named: only this machine was looked at", mend))
    findings += backups.strangers(findings)
    if as_json:
        click.echo(json.dumps(_document(findings), indent=2))
    else:
        _print(findings)
    if any(each.verdict is Verdict.PROBLEM for each in findings):
        sys.exit(PROBLEMS)


def _split(arguments: tuple[str, ...]) -> tuple[str | None, Path | None]:
    uris = [each for each in arguments if "://" in each]
    paths = [each for each in arguments if "://" not in each]
    if len(uris) > 1 or len(paths) > 1:
        raise click.UsageError("give one URI and one MOUNTPOINT at most")
    return next(iter(uris), None), next((Path(each).absolute() for each in paths), None)


def _checks(
    uri: str | None,
    point: Path | None,
    choice: LakeChoice,
    vaults: tuple[str, ...],
    disk_cache: Path | None,
) -> Iterator[Check]:
    settings, document = _settings(choice)
    yield Check("fuse", machine.fuse, QUICK, "fuse")
    yield Check("open files", machine.limits, QUICK, "this machine")
    yield Check("config file", partial(machine.config, choice.config), QUICK, "its disk")
    yield Check("log folder", partial(mounts.logs, point or Path("/lake")), QUICK, "its disk")
    cache = disk_cache or _configured_cache(document)
    if cache is not None:
        yield Check("disk cache", partial(mounts.disk_cache, cache.absolute()), QUICK, str(cache))
    yield Check("systemd", partial(machine.services, settings), PATIENT, "systemctl")
    served = lake_on(point)
    known = mounted_lakes() if point is None else [served] if served else []
    if point is not None and served is None:
        yield Check("mount point", partial(mounts.mountpoint, point), QUICK, str(point))
    for each in known:
        mend = "see its log: it waits for its server, or hangs"
        yield Check("mount", partial(mounts.mount, each), PATIENT, str(each), mend)
    if _is_named(uri, point, choice, document):
        look = partial(_lake, uri, point, choice, settings, document)
        yield Check("lake", look, PATIENT, "the lake")
    for vault in _vaults(choice, vaults, settings):
        yield Check("vault", partial(backups.vault, vault), PATIENT, vault.name)


def _vaults(
    choice: LakeChoice, given: tuple[str, ...], settings: Settings
) -> Sequence[VaultChoice]:
    if not given and not settings.vaults:
        return []
    try:
        return choose_vaults(choice.config, given)
    except ConfigError:  # of the file, which is a finding: what was given may do without it
        return [VaultChoice(redact(each), each) for each in given]


def lake_on(point: Path | None) -> Path | None:
    """The mount point, if a lake is mounted there; does not touch it, since it may hang."""
    if point is None:
        return None
    place = Path(os.path.realpath(point.parent), point.name)
    return place if place in mounted_lakes() else None


def _settings(choice: LakeChoice) -> tuple[Settings, Document]:
    """What the config file says; a file that makes no sense is a finding, and says nothing."""
    try:
        return read_settings(choice.config), read_config(choice.config)
    except ConfigError:
        return Settings(), {}


def _configured_cache(document: Document) -> Path | None:
    table = document.get("mount")
    folder = table.get("disk_cache") if isinstance(table, Mapping) else None
    return Path(folder).expanduser() if isinstance(folder, str) else None


def _is_named(uri: str | None, point: Path | None, choice: LakeChoice, document: Document) -> bool:
    if uri or choice.uri_file or choice.embedded:
        return True
    if lake_on(point) is not None:
        return True
    return bool(known_uri(document) or known_embedded(document))


def _lake(
    uri: str | None,
    point: Path | None,
    choice: LakeChoice,
    settings: Settings,
    document: Document,
) -> Iterator[Finding]:
    # Imported late: pymongo takes a while, and its threads must not exist before a fork.
    from gridfsmount.cli.doctor.lake import lake

    yield from lake(choice, uri, lake_on(point), settings, document)


def _document(findings: list[Finding]) -> dict[str, Any]:
    problems = sum(each.verdict is Verdict.PROBLEM for each in findings)
    warnings = sum(each.verdict is Verdict.WARNING for each in findings)
    checks = [
        {
            "check": each.check,
            "verdict": each.verdict.value,
            "text": each.text,
            "mend": each.mend or None,
        }
        for each in findings
    ]
    return {"well": not problems, "problems": problems, "warnings": warnings, "checks": checks}


def _print(findings: list[Finding]) -> None:
    width = max(len(each.check) for each in findings)
    for each in findings:
        word = each.verdict.value
        shown = word if each.verdict is Verdict.OK else word.upper()
        label = click.style(f"{shown:8}", fg=_COLOURS[each.verdict])
        lines = each.text.split("\n")
        click.echo(f"{label} {each.check:{width}}  {printable(lines[0])}")
        for line in (*lines[1:], *([f"-> {each.mend}"] if each.mend else [])):
            click.echo(f"{'':8} {'':{width}}  {printable(line)}")
    counts = Counter(each.verdict for each in findings)
    click.echo(
        f"{counted(counts[Verdict.PROBLEM], 'problem')}, "
        f"{counted(counts[Verdict.WARNING], 'warning')}, {counts[Verdict.OK]} ok"
    )
