"""A lake, from the name of its server to its indexes, in the order in which one needs the other."""

import socket
import ssl
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from gridfsmount.addresses import find_uri, known_bucket, known_embedded
from gridfsmount.cli.doctor.findings import NEXT, Finding, ok, problem, warning
from gridfsmount.cli.lakes import PLACE, LakeChoice
from gridfsmount.cli.sections import Section
from gridfsmount.cli.settings import Settings
from gridfsmount.cli.status import disk, lake_section, uploads
from gridfsmount.cli.status_backups import backups
from gridfsmount.cli.status_machines import clock, members_section
from gridfsmount.errors import (
    AccessDenied,
    ConnectError,
    FileSystemError,
    LakeError,
    LakeFormatError,
)
from gridfsmount.mount.mountpoint import lake_of
from gridfsmount.store.connection import Connection, Deployment, connect
from gridfsmount.store.diagnosis import Address, address_of, default_write_concern, rights
from gridfsmount.store.embedded import find_mongod, running_uri
from gridfsmount.store.lake import Founder, Lake, open_lake

CONNECT_SECONDS: Final = 3.0
"""For one host: a network that needs longer is of no use to a mount."""

DEADLINE: Final = 10.0
"""Seconds for one question, though a mount has more patience."""

OLDEST: Final = (5, 0)
"""Of MongoDB: what a mount takes."""

EXPIRY_DAYS: Final = 21.0
"""A certificate that ends sooner should be renewed now."""

Host: TypeAlias = tuple[str, int | None]
"""Name and port, or the path of a socket."""

_LEASE: Final = 300.0

_MENDS: Final = {"space": "`gridfsmount gc --dry-run` tells what can go now; else a larger disk"}
"""For problems that do not say it themselves."""


def lake(
    choice: LakeChoice,
    uri: str | None,
    mounted: Path | None,
    settings: Settings,
    document: Mapping[str, Any],
) -> Iterator[Finding]:
    """All about the lake of the options, of the config file (`document`), or of a mount."""
    bucket = choice.bucket or known_bucket(document)
    embedded = choice.embedded
    if embedded is None and mounted is None and not (uri or choice.uri_file):
        embedded = known_embedded(document)
    if embedded is not None:
        yield ok("mongod", f"{find_mongod()} can serve it")
        running = running_uri(embedded)
        if running is None:
            yield ok("lake", f"no server runs in {embedded} now: it begins with the mount")
            return
        uri = running
    elif mounted is not None and not uri and choice.uri_file is None:
        uri, bucket = lake_of(mounted)
    else:
        uri = find_uri(uri or "", choice.uri_file, document, place=PLACE, login=choice.login)
    address = address_of(uri)
    names = ", ".join(map(_place, address.hosts))
    yield ok("address", names, **{NEXT: names})
    reachable = yield from _network(address)
    if not reachable:
        return
    if address.tls:
        if not (yield from _tls(address, reachable)):
            return
    elif not all(_is_near(host) for host, _ in address.hosts):
        mend = "give the server a certificate, and add ?tls=true to the address"
        yield warning("tls", "what goes to and from the server can be read on its way", mend)
    connection = connect(uri, bucket=bucket, deadline=min(choice.deadline, DEADLINE))
    try:
        yield from _server(connection, address)
        yield from _contents(connection, settings)
    finally:
        connection.close()


def _network(address: Address) -> Generator[Finding, None, list[Host]]:
    """Whether the hosts can be reached; returns those that can."""
    reachable = []
    mend = "see whether mongod runs there, what its bindIp says, and the firewalls between"
    for each in address.hosts:
        began = time.monotonic()
        try:
            _connected(*each).close()
        except OSError as error:
            yield warning("network", f"{_place(each)}: {_reason(error)}", mend)
            continue
        reachable.append(each)
        took = (time.monotonic() - began) * 1000
        told = f"{_place(each)} accepts connections, after {took:.0f} ms"
        yield ok("network", told, **{NEXT: "the next host"})
    if not reachable:
        yield problem("network", "no server can be reached")
    return reachable


def _connected(host: str, port: int | None) -> socket.socket:
    if port is not None:
        return socket.create_connection((host, port), CONNECT_SECONDS)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(CONNECT_SECONDS)
    try:
        connection.connect(host)
    except OSError:
        connection.close()
        raise
    return connection


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"its name cannot be resolved ({error.strerror})"
    if isinstance(error, TimeoutError):
        return f"no connection within {CONNECT_SECONDS:.0f} s"
    return error.strerror or str(error)


def _tls(address: Address, reachable: list[Host]) -> Generator[Finding, None, bool]:
    """Whether the hosts show certificates that can be trusted; returns whether all do."""
    try:
        context = ssl.create_default_context(cafile=address.ca_file)
        if address.certificate_file is not None:
            password = address.certificate_password or ""
            context.load_cert_chain(address.certificate_file, password=password)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(filter(None, (address.ca_file, address.certificate_file)))
        mend = "they are PEM files; a client's has its certificate and its key"
        yield problem("tls", f"{files} cannot be used: {error.strerror or error}", mend)
        return False
    if address.lax:
        mend = "take tlsInsecure and tlsAllowInvalid... out of the address, and give tlsCAFile"
        yield warning("tls", "the server's certificate is not verified: it may be anybody's", mend)
        return True
    trusted = True
    for host in reachable:
        try:
            yield _certificate(_place(host), context, host)
        except ssl.SSLCertVerificationError as error:
            mend = "tlsCAFile=... is the authority's that signed it; it must name the host"
            yield problem("tls", f"{_place(host)}: {error.verify_message}", mend)
            trusted = False
        except OSError as error:
            mend = "see whether mongod runs with --tlsMode, and its log"
            yield problem("tls", f"{_place(host)}: {error.strerror or error}", mend)
            trusted = False
    return trusted


def _certificate(place: str, context: ssl.SSLContext, host: Host) -> Finding:
    with (
        _connected(*host) as plain,
        context.wrap_socket(plain, server_hostname=host[0]) as secured,
    ):
        ends = str((secured.getpeercert() or {}).get("notAfter", ""))
        version = secured.version()
    days = (ssl.cert_time_to_seconds(ends) - time.time()) / 86400
    text = f"{place} has a certificate that is good for {days:,.0f} days ({version})"
    return warning("tls", text, "renew it") if days < EXPIRY_DAYS else ok("tls", text)


def _server(connection: Connection, address: Address) -> Iterator[Finding]:
    deployment = connection.deployment
    yield ok("server", f"it answers, and lets this user in: {deployment}", **{NEXT: "the server"})
    yield _version(deployment)
    if deployment.kind == "standalone":
        yield warning(
            "deployment",
            "a standalone server: what other mounts change shows within a second, and a rename "
            "over a file takes several steps",
            "make it a replica set of one: --replSet NAME for mongod, and rs.initiate()",
        )
    else:
        yield ok("deployment", f"a {deployment.kind}")
    concern = default_write_concern(connection)
    if concern == "majority":
        yield ok("write concern", "other clients' writes wait for the majority, as the mount's do")
    elif concern is not None:
        yield warning(
            "write concern",
            f"what other clients write may be lost in a fail-over, unless they ask for more than "
            f"w: {concern}",
            "db.adminCommand({setDefaultRWConcern: 1, defaultWriteConcern: {w: 'majority'}})",
        )
    yield from _rights(connection, is_near=all(_is_near(host) for host, _ in address.hosts))


def _version(deployment: Deployment) -> Finding:
    found = tuple(int(each) for each in deployment.version.split(".")[:2] if each.isdecimal())
    if found < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return problem("version", f"MongoDB {deployment.version}", f"upgrade to {oldest} or later")
    return ok("version", f"MongoDB {deployment.version}")


def _rights(connection: Connection, *, is_near: bool) -> Iterator[Finding]:
    found = rights(connection)
    name = "rights"
    if not found.user:
        if is_near:
            yield ok(
                name, "everybody on this machine may do everything: mongod runs without --auth"
            )
        else:
            mend = "run mongod with --auth, and make users: see MongoDB's manual on access control"
            yield warning(name, "whoever reaches the server may do everything", mend)
        return
    database = connection.deployment.database
    if found.to_read:
        mend = f'db.grantRolesToUser(..., [{{role: "read", db: "{database}"}}])'
        yield problem(name, f"{found.user} may not {'; '.join(found.to_read)}", mend)
    elif found.to_write and not found.writes_nothing:
        mend = f'db.grantRolesToUser(..., [{{role: "readWrite", db: "{database}"}}])'
        text = f"{found.user} may write some, but not {'; '.join(found.to_write)}"
        yield warning(name, f"{text}: mounts will be read-only", mend)
    else:
        may = "read, so mounts are read-only" if found.to_write else "read and write"
        yield ok(name, f"{found.user} may {may}")
    if found.to_tell:
        text = f"{found.user} may not {'; '.join(found.to_tell)}"
        yield warning(name, f"{text}: some things are told late or not at all", "grant that, too")


def _contents(connection: Connection, settings: Settings) -> Iterator[Finding]:
    founder = Founder(0, 0)
    try:
        opened = open_lake(connection, lease_seconds=_LEASE, founder=founder, read_only=True)
    except LakeFormatError as error:
        if "upgrade" in str(error):
            yield problem("lake", str(error))
        else:
            yield warning("lake", str(error))
        return
    except (ConnectError, FileSystemError) as error:
        yield problem("lake", str(error))
        return
    yield ok("lake", f"it is there (id {opened.id})", lake=opened.id, **{NEXT: "the server"})
    looks: tuple[tuple[str, str, Callable[[Lake, Settings], Section | None]], ...] = (
        ("indexes", "all are there", lake_section),
        ("members", "", members_section),
        ("clock", "", clock),
        ("uploads", "", uploads),
        ("space", "", disk),
        ("backups", "", backups),
    )
    for name, well, look in looks:
        try:
            section = look(opened, settings)
        except AccessDenied:
            yield warning(name, "this user may not ask for that")
            continue
        except LakeError as error:
            yield warning(name, f"that is not told: {error}")
            continue
        if section is None:
            if look is backups:
                mend = "see 'Making backups' in docs/operations.md"
                yield warning(name, "none was made, and no vault is configured", mend)
            continue
        for text in section.problems:
            yield problem(name, text, _MENDS.get(name, ""))
        if not section.problems:
            yield ok(name, well or section.text)


def _place(host: Host) -> str:
    return host[0] if host[1] is None else f"{host[0]}:{host[1]}"


def _is_near(host: str) -> bool:
    """Whether nobody on the network can see what goes there."""
    return host in ("localhost", "::1") or host.startswith(("127.", "/"))
