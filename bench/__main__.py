"""Runs every benchmark and prints the table."""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from bench import knownbad, sampling, streams, uploads
from bench.service import Nginx, service
from uploadsvc.server.sample import film

table = Table(title="uploadsvc", box=None)
for heading in ("what", "measured", "floor or peer", "ratio", "aim"):
    table.add_column(heading)


def row(
    what: str, measured: float, floor: float | None, unit: str, aim: str = ""
) -> None:
    table.add_row(
        what,
        f"{measured:.1f} {unit}",
        f"{floor:.1f} {unit}" if floor is not None else "",
        f"{measured / floor:.1f}" if floor else "",
        aim,
    )


with tempfile.TemporaryDirectory() as folder, service() as running:
    sample = Path(folder) / "film.mp4"
    film(sample, seconds=20)
    upstream = urlsplit(running.url).netloc
    with Nginx(upstream) as front:
        for name, url in (("direct", running.url), ("through nginx", front.url)):
            opened = streams.first_byte(running, url)
            idle = streams.floor(running, url)
            row(
                f"first byte of a stream, {name}, median",
                streams.median_ms(opened),
                streams.median_ms(idle),
                "ms",
                "< 50 ms",
            )
        arrived = streams.delivery(running, front.url, sample)
        row(
            f"event to client through nginx, median of {len(arrived)}",
            streams.median_ms(arrived),
            streams.median_ms(idle),
            "ms",
            "< 20 ms",
        )
        for name, url in (("direct", running.url), ("through nginx", front.url)):
            least = uploads.floor_s(Path(folder))
            big = uploads.big_upload(running, url)
            row(f"500 MB upload, {name} (answer {big.status})", big.seconds, least, "s")
            row(f"  CPU of the web process, {name}", big.cpu_s, None, "s")
            grown = big.grown_bytes / 2**20
            row(f"  memory grown, {name}", grown, None, "MiB", "< 16 MB")
            row(
                f"  worst of {big.requests} short requests meanwhile",
                big.worst_wait_s * 1000,
                streams.median_ms(idle),
                "ms",
                "< 100 ms",
            )
        ended, seconds = uploads.many(running, front.url, [sample])
        row("20 uploads at once, ended well", ended, 20, "")
        row("  in", seconds, None, "s")
    row(
        "CPU of looking at a film of 20 s, and of decoding all of it",
        sampling.film_cost(sample).cpu_s * 1000,
        sampling.every_frame_s(sample) * 1000,
        "ms",
    )
lists = knownbad.figures()
row(f"SHA-256 among {lists.entries:,}", lists.sha256_ms, None, "ms", "< 100 ms")
row(f"picture among {lists.entries:,}", lists.picture_ms, None, "ms", "< 100 ms")
found = sampling.planted("x264's defaults", positions=20)
row("scene of 2 s in a film of 10 min, found", found.found, found.positions, "", "99 %")
row("  CPU of looking at one such film (160 x 90)", found.cpu_s, None, "s")
Console().print(table)
