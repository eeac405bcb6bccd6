"""One module a family: is the file whole, which parts are looked at, what is kept of it.

``picture`` and ``strip`` serve the others. Imported once, in a warm child, so that no upload
waits for the decoders to load.
"""

from __future__ import annotations

from uploadsvc.verify import Format
from uploadsvc.verify.formats.audio import AudioFormat
from uploadsvc.verify.formats.image import ImageFormat
from uploadsvc.verify.formats.pdf import PdfFormat
from uploadsvc.verify.formats.video import VideoFormat

# The families of ``probe.FAMILIES``.
FORMATS: dict[str, Format] = {
    "image": ImageFormat(),
    "video": VideoFormat(),
    "audio": AudioFormat(),
    "pdf": PdfFormat(),
}
