"""What ``make run`` prints once the service listens: address, token, lines to paste.

A process of its own (``python -m uploadsvc.server.greeting``): what it imports must not be in
gunicorn's master, whose workers patch the standard library for gevent after the fork.
"""

from __future__ import annotations

import getpass
import os

from uploadsvc import __version__
from uploadsvc.cli.local import sign
from uploadsvc.server.sample import film
from uploadsvc.settings import Settings

TOKEN_S = 24 * 3600.0

TEXT = """
uploadsvc {version} listens on http://{bind}

A development token for user {user}, good for a day:

  export TOKEN={token}

In one terminal or two: watch an upload, and send it. {sample} is a film made for this.

  export ID="upload_$(date +%s)"
  curl -N -H "Authorization: Bearer $TOKEN" http://{bind}/api/media/upload/$ID/progress &
  curl -H "Authorization: Bearer $TOKEN" -H "X-Upload-ID: $ID" -F title=Sample -F file=@{sample} http://{bind}/api/media/upload

Or with progress bars:

  {prefix}uploadsvc upload {sample} --url http://{bind} --token "$TOKEN"
"""


def greet(settings: Settings) -> None:
    """Print it to stdout. For development only: it gives a token away."""
    sample = settings.data_dir / "sample.mp4"
    if not sample.exists():
        # The worker may not have come to making the folder; a half-made film is never seen.
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        half = sample.with_name(f"sample.{os.getpid()}.mp4")
        film(half, seconds=10)
        half.replace(sample)
    user = getpass.getuser()
    print(
        TEXT.format(
            version=__version__,
            bind=settings.bind,
            user=user,
            token=sign(settings, user, TOKEN_S, None),
            sample=sample,
            prefix=".venv/bin/",
        ),
        flush=True,
    )


if __name__ == "__main__":
    greet(Settings.from_env(os.environ))
