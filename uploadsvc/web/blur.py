"""A thumbnail with nothing left in it to recognise, for moderators who have not asked to see.

The thumbnail is a WebP that our own sandbox made, but of somebody's file: it is read by the
WebP decoder alone, and only in the size we make.
"""

from __future__ import annotations

import io
from pathlib import Path

import gevent
from PIL import Image, WebPImagePlugin

from uploadsvc import log

logger = log.get(__name__)

# Pixels left along the longer side: light, colours, no forms.
LEFT = 12
# Far above our thumbnails; more is not decoded.
MAX_SIDE = 2048
FORMAT = WebPImagePlugin.WebPImageFile.format


def blurred(path: Path) -> bytes | None:
    """The picture at ``path`` blurred, as WebP; None if it cannot be read. Other greenlets
    run meanwhile, for it is computed on a thread."""
    made: bytes | None = gevent.get_hub().threadpool.apply(_blurred, (path,))
    return made


def _blurred(path: Path) -> bytes | None:
    # Caught here: gevent prints whatever flies out of a thread.
    try:
        with Image.open(path, formats=[FORMAT]) as image:
            if max(image.size) > MAX_SIDE:
                raise ValueError("larger than a thumbnail of ours")
            picture = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        logger.warning("thumbnail cannot be read", error=str(error))
        return None
    scale = LEFT / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    coarse = picture.resize((width, height), Image.Resampling.BOX)
    file = io.BytesIO()
    coarse.resize(picture.size, Image.Resampling.BICUBIC).save(file, FORMAT)
    return file.getvalue()
