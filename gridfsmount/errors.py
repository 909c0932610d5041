"""Every error this project raises on purpose.

Two families: a `FileSystemError` answers one request of the kernel (the errno for each is chosen
in `gridfsmount.core.errnos`, nowhere else), a `StartupError` ends a command with a message for
the person who typed it. Foreign exceptions are translated at the seam where they appear.
"""


class LakeError(Exception):
    """Base of all; its text is a sentence for people, without secrets."""


class StartupError(LakeError):
    """A command cannot do what it was asked; the text says why and what to do."""


class ConfigError(StartupError):
    """An option, a file or an address that cannot be used as given."""


class WrongVault(ConfigError):
    """A vault that is of another lake than the one at hand."""


class ConnectError(StartupError):
    """The server is out of reach, refuses the credentials, or lacks what is needed."""


class LakeFormatError(StartupError):
    """The database holds something that this version must not touch."""


class EmbeddedServerError(StartupError):
    """The private mongod cannot be found or started."""


class MountError(StartupError):
    """The mount point or FUSE itself is not usable."""


class FileSystemError(LakeError):
    """Base of the answers to one file system request."""


class NotFound(FileSystemError):
    """No such name or inode."""


class NeverFound(NotFound):
    """No such name, for good: the version is sealed."""


class Stale(NotFound):
    """An inode that the kernel remembers is gone: it must look the name up again."""


class AlreadyExists(FileSystemError):
    """The name is taken."""


class NotADirectory(FileSystemError):
    """A directory was needed."""


class IsADirectory(FileSystemError):
    """Anything but a directory was needed."""


class DirectoryNotEmpty(FileSystemError):
    """The directory still has entries."""


class NotPermitted(FileSystemError):
    """The rules of the tree forbid it, whoever asks."""


class AccessDenied(FileSystemError):
    """The database user lacks the rights."""


class ReadOnly(FileSystemError):
    """The mount, the version or the snapshot cannot change."""


class CrossVersion(FileSystemError):
    """The operation would reach across two versions."""


class NameTooLong(FileSystemError):
    """A name of more than 255 bytes."""


class NotUtf8(FileSystemError):
    """A name or a link target that is not UTF-8."""


class InvalidArgument(FileSystemError):
    """An argument that makes no sense here."""


class NoAttribute(FileSystemError):
    """No extended attribute of that name."""


class TooLarge(FileSystemError):
    """An extended attribute that exceeds what a document can hold."""


class FileTooBig(FileSystemError):
    """A size beyond what GridFS can number."""


class TooManyLinks(FileSystemError):
    """More hard links than one document should hold."""


class NotSupported(FileSystemError):
    """The lake has no such feature."""


class NoSpace(FileSystemError):
    """The server's disk is full."""


class StoreUnavailable(FileSystemError):
    """The server did not answer within the deadline."""


class StoreFailed(FileSystemError):
    """The server refused for a reason that no caller can act on."""


class Damaged(FileSystemError):
    """Stored data is missing, altered or malformed."""


class InUse(FileSystemError):
    """A version that somebody writes cannot be sealed."""


class Conflict(FileSystemError):
    """The document changed while it was being changed; callers try again."""
