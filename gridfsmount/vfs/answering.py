"""Says what this mount writes when somebody is about to seal a version.

By the time it answers, changes in that version are refused here, and what was pending is written.
"""

import logging
from typing import Final

import trio

from gridfsmount.core.model import Inode
from gridfsmount.errors import FileSystemError, NotFound
from gridfsmount.store.versions import Question, Versions
from gridfsmount.vfs.files import Files
from gridfsmount.vfs.recent import RecentNodes
from gridfsmount.workers import Workers

log = logging.getLogger(__name__)

ASK_SECONDS: Final = 1.0
"""Between looks for questions, where the server does not tell of them."""

NAMED: Final = 10
"""Files that an answer names."""


class Answering:
    """Answers for one mount."""

    def __init__(
        self, versions: Versions, workers: Workers, recent: RecentNodes, files: Files
    ) -> None:
        """Look for questions in `versions`, and for the answers in `files`."""
        self._versions = versions
        self._workers = workers
        self._recent = recent
        self._files = files
        self._asked = trio.Event()

    def asked(self) -> None:
        """The server told that a version is about to be sealed."""
        self._asked.set()

    async def run(self) -> None:
        """Answer until cancelled; an outage is waited for."""
        while True:
            with trio.move_on_after(ASK_SECONDS):
                await self._asked.wait()
            self._asked = trio.Event()
            try:
                # Abandoned when the mount ends, which must not wait for a server that is gone.
                questions = await self._workers.wait(self._versions.questions)
            except FileSystemError as error:
                log.debug("nobody can be told what is written here: %s", error)
                continue
            for question in questions:
                try:
                    await self._answer(question)
                except FileSystemError as error:  # others are asked for other versions
                    log.debug("no answer about inode %s: %s", question.version, error)

    async def _answer(self, question: Question) -> None:
        self._recent.forget(question.version)
        await self._recent.get(question.version)
        # From here on every check of the version finds that it takes no changes.
        await self._recent.write_times()
        writing = [await self._path(each) for each in self._files.written_in(question.version)]
        await self._workers.background(self._versions.answer, question, writing[:NAMED])

    async def _path(self, inode: Inode) -> str:
        file = self._files.find(inode)
        if file is None or not file.node.names:
            return f"inode {inode}"
        name = file.node.names[0]
        try:
            return f"{await self._recent.path(name.parent)}/{name.name}"
        except NotFound:
            return name.name
