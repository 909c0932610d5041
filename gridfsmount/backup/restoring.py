"""Snapshots brought back into a lake: all of one, or a dataset, a version, a folder, a file.

Each version, and each folder, is built where nobody sees it, and appears whole; a sealed one only
when its digest, computed from what is in the lake then, is the one that it was sealed with. So an
interruption leaves nothing that is seen, and what it leaves is removed as of any version that is
half made. Blocking.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from gridfsmount.backup.building import Builder, Site
from gridfsmount.backup.planning import Goal, Plan, What, plan, some
from gridfsmount.backup.planting import Counts, Item, Planter
from gridfsmount.backup.snapshots import fetched, manifest_sha256, opened
from gridfsmount.core.model import (
    AREAS,
    DATASETS,
    MODELS,
    ROOT,
    UNSORTED,
    Inode,
    Kind,
    Name,
    Node,
    Origin,
    Record,
    State,
)
from gridfsmount.core.vault import Vault
from gridfsmount.errors import (
    AlreadyExists,
    Damaged,
    FileSystemError,
    InUse,
    ReadOnly,
)
from gridfsmount.places import LakePath, check_open, find, make_folder
from gridfsmount.store.lake import Founder, Lake
from gridfsmount.transfer.lanes import Lanes
from gridfsmount.transfer.report import Progress, Report
from gridfsmount.transfer.uploading import Uploader, renewing
from gridfsmount.vaults.manifest import Manifest

ASIDE: Final = ".replaced-"
"""In the name of what is replaced, while that is going on."""

SPARE_BYTES: Final = 100
"""Of its name that are kept: also a version's has room for the rest."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to restore."""

    by: str
    """Who does, as in "root@server"."""
    owner: Founder
    """Of folders that are made and that the snapshot does not know."""
    overwrite: bool = False
    """Replace drafts, and what is in them."""
    jobs: int = 4


@dataclass(frozen=True, slots=True)
class Restored:
    """Something that is back."""

    path: str
    what: str
    sealed: bool
    digest: str
    """Of the files, computed from what is in the lake; empty for what is no folder."""
    counts: Counts


@dataclass(slots=True)
class Result:
    """All that was done."""

    snapshot: str
    restored: list[Restored] = field(default_factory=list)
    there: int = 0
    """What an earlier run, which was interrupted, had restored already."""


@contextmanager
def restoring(
    lake: Lake,
    vault: Vault,
    snapshot: str,
    path: LakePath | None,
    target: LakePath | None,
    options: Options,
) -> Iterator["Restore"]:
    """Look whether something can be restored, and get ready; nothing is changed before `run`.

    Args:
        lake: where to.
        vault: where from.
        snapshot: of the vault.
        path: in the snapshot; None for all of it, into an empty lake.
        target: where it goes instead of where it was.
        options: how.

    Raises:
        NotFound: the snapshot, or the path in it, is not there.
        AlreadyExists, ReadOnly, InUse: something is in the way.
        Damaged: the snapshot is not whole.
        InvalidArgument, NotPermitted: it cannot go there.
    """
    with fetched(vault, snapshot) as file:
        _check_manifest(vault, snapshot, file)
        with opened(file, snapshot) as manifest:
            yield Restore(lake, vault, manifest, plan(manifest, path, target), options)


def _check_manifest(vault: Vault, snapshot: str, path: Path) -> None:
    summary = vault.summary(snapshot)
    found = manifest_sha256(path)
    if found != summary.manifest_sha256:
        raise Damaged(
            f"the manifest of {snapshot} is damaged (its SHA-256 is {found}, not "
            f"{summary.manifest_sha256}): restore from another snapshot"
        )


class Restore:
    """One restore, that can be done: nothing was changed so far."""

    def __init__(
        self, lake: Lake, vault: Vault, manifest: Manifest, wanted: Plan, options: Options
    ) -> None:
        self._lake = lake
        self._vault = vault
        self._manifest = manifest
        self._plan = wanted
        self._options = options
        self._result = Result(manifest.name)
        self._numbers: dict[Inode, Inode] = {}
        """Of versions here, by those that they have in the snapshot."""
        self._new: list[LakePath] = []
        """Folders that were made for what goes into them."""
        self._goals = self._still_to_do()

    def measure(self) -> tuple[int, int]:
        """Files and bytes, about: of all of the snapshot if all of it is restored."""
        if self._plan.whole:
            summary = self._vault.summary(self._manifest.name)
            return summary.files, summary.bytes
        seals = [each.source.record and each.source.record.seal for each in self._goals]
        known = [each for each in seals if each]
        return sum(each.files for each in known), sum(each.bytes for each in known)

    # --- what is in the way --------------------------------------------------------------------

    def _still_to_do(self) -> list[Goal]:
        goals = self._plan.goals
        if self._plan.whole:
            going_on = self._lake.restores.under_way()
            if going_on is None and not self._lake.restores.is_empty():
                raise AlreadyExists(
                    "there is something in the lake: all of a snapshot is restored into an empty "
                    "one only; name a version or a dataset, or give the address of a new database"
                )
            if going_on not in (None, self._manifest.name):
                raise AlreadyExists(
                    f"{going_on} is being restored into the lake: go on with that one, or give "
                    "the address of a new database"
                )
            if going_on is None:
                return goals
        for _ in self._lake.removals.clear():  # what an earlier one left
            pass
        there = {str(goal.target): find(self._lake, goal.target) for goal in goals}
        if self._plan.whole:
            for goal in goals:
                node = there[str(goal.target)]
                if node is not None:
                    self._numbers[goal.source.inode] = node.inode
            self._result.there = len([each for each in there.values() if each is not None])
            return [goal for goal in goals if there[str(goal.target)] is None]
        for goal in goals:
            self._check_place(goal, there[str(goal.target)])
        if not self._options.overwrite:
            taken = [path for path, node in there.items() if node is not None]
            if taken:
                raise AlreadyExists(
                    f"{some(taken)} is there: restore it under another name with --as, or replace "
                    "it with --overwrite"
                )
        return goals

    def _check_place(self, goal: Goal, node: Node | None) -> None:
        """Refuse what cannot be replaced, whatever the options say."""
        path = goal.target
        if goal.what is What.TAG:
            if node is not None and node.kind is not Kind.SYMLINK:
                raise AlreadyExists(f"{path} is the name of a version, and no tag any more")
            return
        if goal.what is What.VERSION:
            if node is None:
                return
            if node.state is None:
                raise AlreadyExists(f"{path} is there, and no version: remove it first")
            if node.state is State.SEALED:
                raise ReadOnly(
                    f"{path} is there and sealed: restore it under another name with --as, or "
                    f"`gridfsmount delete {path}` first"
                )
            if node.record is not None and node.record.sealing is not None:
                raise InUse(f"{path}: {node.record.sealing.by} is sealing it")
            return
        if path.parts[0] != "unsorted":
            version = find(self._lake, LakePath(path.parts[:3]))
            if version is not None:
                self._check_open(version.inode, path)

    def _check_open(self, version: Inode, path: LakePath) -> None:
        try:
            check_open(self._lake, version, path)
        except ReadOnly as error:
            raise ReadOnly(f"{error}; restore it into a draft with --as") from error

    # --- making --------------------------------------------------------------------------------

    def run(self, progress: Progress) -> Result:
        """Make it all.

        Raises:
            Damaged: a blob is missing or wrong; the text names its path.
            Conflict, AlreadyExists: somebody else was at the same place.
            FileSystemError: the vault or the lake gives no answer.
        """
        report = Report(progress)
        try:
            self._make_all(report)
        except BaseException:
            for path in reversed(self._new):
                with suppress(FileSystemError):
                    self._remove_if_empty(path)
            raise
        if self._plan.whole:
            self._dress_fixed_folders()
            self._lake.restores.finish(self._vault.header.lake)
        return self._result

    def _remove_if_empty(self, path: LakePath) -> None:
        node = find(self._lake, path)
        if node is not None:
            self._lake.tree.remove_directory(node)

    def _make_all(self, report: Report) -> None:
        if self._plan.whole:
            self._lake.restores.begin(self._manifest.name)
        versions = [each.source.inode for each in self._goals if each.what is What.VERSION]
        if versions:
            numbers = map(Inode, self._lake.tree.allocate(len(versions)))
            self._numbers |= dict(zip(versions, numbers, strict=True))
        with ExitStack() as stack:
            stack.enter_context(renewing(self._lake))
            uploader = Uploader(self._lake, report, 1)
            stack.callback(uploader.close)
            lanes = stack.enter_context(Lanes(self._options.jobs, report))
            stack.enter_context(_stopping(report))
            planter = Planter(self._lake, self._vault, self._manifest, lanes, uploader, report)
            stack.callback(planter.close)
            builder = Builder(self._lake, self._manifest, planter, self._options.by)
            for goal in self._goals:
                if goal.what in (What.VERSION, What.FOLDER):
                    self._make_tree(goal, builder, planter)
            self._make_files(builder, planter)
            for goal in self._goals:
                if goal.what is What.TAG:
                    self._make_tag(goal, builder)
            for path in self._plan.homes:  # also those without any version
                self._home(LakePath(tuple(path.split("/"))), builder)

    def _make_tree(self, goal: Goal, builder: Builder, planter: Planter) -> None:
        planter.counts = counts = Counts()
        source, path = goal.source, goal.target
        seal = None
        if goal.what is What.VERSION:
            inode = self._numbers[source.inode]
            record = self._record(source.record)
            root = replace(
                builder.node(source, inode, (), inode),
                state=State.DRAFT,
                created_ns=source.created_ns,
                record=record,
            )
            if source.state is State.SEALED and source.record is not None:
                seal = source.record.seal
        else:
            home = self._home(path.parent, builder)
            root = builder.node(source, builder.number(), (), home.version or home.inode)
        digest = builder.build(
            Site(source, root, str(path), seal),
            lambda: self._home(path.parent, builder).inode,
            path.parts[-1],
            lambda appear: self._replacing(path, appear),
        )
        restored = Restored(str(path), goal.what.value, seal is not None, digest, counts)
        self._result.restored.append(restored)

    def _make_files(self, builder: Builder, planter: Planter) -> None:
        goals = [each for each in self._goals if each.what is What.FILE]
        if not goals:
            return
        planter.counts = counts = Counts()
        homes: dict[str, Node] = {}
        for goal in goals:
            above = str(goal.target.parent)
            home = homes.get(above) or self._home(goal.target.parent, builder)
            homes[above] = home
            version = home.version or home.inode
            place = Name(home.inode, goal.target.parts[-1])
            node = builder.node(goal.source, builder.number(), (place,), version)
            item = Item(node, str(goal.target))
            if self._options.overwrite:
                self._replacing(goal.target, partial(_add, planter, item))
            else:
                planter.add(item)
        planter.drain()
        first = goals[0].target
        path = first if len(goals) == 1 else first.parent
        self._result.restored.append(Restored(str(path), What.FILE.value, False, "", counts))

    def _make_tag(self, goal: Goal, builder: Builder) -> None:
        home = self._home(goal.target.parent, builder)
        place = Name(home.inode, goal.target.parts[-1])
        tag = builder.node(goal.source, builder.number(), (place,), home.version)
        self._replacing(goal.target, lambda: self._lake.commits.create(tag))

    def _home(self, path: LakePath, builder: Builder) -> Node:
        """The folder that something goes into; made if need be, as it was in the snapshot."""
        there = find(self._lake, path)
        if there is None:
            above = (LakePath(path.parts[:depth]) for depth in range(2, len(path.parts) + 1))
            self._new += [each for each in above if find(self._lake, each) is None]
        source = self._plan.homes.get(str(path))
        if there is not None or source is None:
            owner = self._options.owner
            return there or make_folder(self._lake, path, owner.uid, owner.gid)
        shelf = AREAS[path.parts[0]]
        node = builder.node(source, builder.number(), (Name(shelf, path.parts[-1]),), None)
        with suppress(AlreadyExists):
            self._lake.commits.create(node)
            return node
        return self._home(path, builder)

    def _record(self, record: Record | None) -> Record:
        if record is None:
            return Record()
        return Record(
            by=record.by,
            parent=None if record.parent is None else self._origin(record.parent),
            sources=tuple(
                replace(each, origin=self._origin(each.origin)) for each in record.sources
            ),
        )

    def _origin(self, origin: Origin) -> Origin:
        """The same version here: by its number here, or one that nothing has if it is not here."""
        if origin.version not in self._numbers:
            same = self._lake.id == self._vault.header.lake
            number = origin.version if same else Inode(self._lake.tree.allocate(1)[0])
            self._numbers[origin.version] = number
        return replace(origin, version=self._numbers[origin.version])

    # --- replacing -----------------------------------------------------------------------------

    def _replacing(self, path: LakePath, appear: Callable[[], None]) -> None:
        """Let something appear at a path; what is there goes when it did.

        It has another name meanwhile, so that a crash loses nothing.
        """
        old = find(self._lake, path)
        if old is None or not self._options.overwrite:
            appear()
            return
        home = find(self._lake, path.parent)
        assert home is not None
        place = Name(home.inode, path.parts[-1])
        spare = Name(home.inode, _spare(path.parts[-1]))
        names = [spare if each == place else each for each in old.names]
        aside = self._lake.mending.place(old, names, None)
        try:
            appear()
        except BaseException:
            with suppress(FileSystemError):
                self._lake.mending.place(aside, old.names, None)
            raise
        if aside.kind is not Kind.DIRECTORY:
            self._lake.commits.unlink(aside, spare)
            return
        attempt = self._lake.detached.detach(aside, str(path), self._options.by)
        while self._lake.removals.go_on(aside.inode, attempt):
            pass

    def _dress_fixed_folders(self) -> None:
        for inode in (ROOT, DATASETS, MODELS, UNSORTED):
            source, node = self._manifest.node(inode), self._lake.tree.get(inode)
            fields = {"mode": source.mode, "uid": source.uid, "gid": source.gid}
            times = {"mtime_ns": source.mtime_ns}
            if source.atime_ns is not None:
                times["atime_ns"] = source.atime_ns
            if node is not None:
                node = self._lake.tree.update(inode, {**fields, **times})
                if node.xattrs != source.xattrs:
                    self._lake.tree.set_xattrs(node, source.xattrs)


def _add(planter: Planter, item: Item) -> None:
    planter.add(item)
    planter.drain()


@contextmanager
def _stopping(report: Report) -> Iterator[None]:
    """End the threads at their next chunk if a block fails."""
    try:
        yield
    except BaseException:
        report.stop()
        raise


def _spare(name: str) -> str:
    """A name beside another one, while that is replaced."""
    kept = name.encode()[:SPARE_BYTES].decode(errors="ignore")
    return f"{kept}{ASIDE}{uuid.uuid4().hex[:8]}"
