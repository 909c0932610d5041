"""Names of MongoDB's read preferences (manual, "Read Preference")."""

from typing import Final

PRIMARY: Final = "primary"

READ_PREFERENCES: Final = (
    PRIMARY,
    "primaryPreferred",
    "secondary",
    "secondaryPreferred",
    "nearest",
)
