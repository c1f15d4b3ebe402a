"""Which checkpoint may be resumed from."""

from __future__ import annotations

import logging
from pathlib import Path

from structkd.errors import IntegrityError
from structkd.storage import verify

logger = logging.getLogger(__name__)


def newest_checkpoint(directory: Path) -> Path | None:
    """The newest checkpoint whose files all match its manifest; damaged and cut-off ones are passed over."""
    found = sorted(directory.glob("checkpoint-*"), key=lambda path: -int(path.name.rpartition("-")[2]))
    for path in found:
        try:
            verify(path)
        except IntegrityError as error:
            logger.warning("passing over a checkpoint: %s", error)
        else:
            return path
    return None
