"""Numbers and names as people read them: the words of `core.wording`, where commands look."""

from gridfsmount.core.wording import counted, printable, sized

__all__ = ["counted", "printable", "sized"]
