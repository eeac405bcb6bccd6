"""The service seen from outside: what a program needs to upload a file and follow it.

It speaks HTTP only, knows nothing of the service's inside but the shape of its ids and the
names of its stages, and works the same against a service on another machine::

    ending = upload(url, token, Path("clip.mp4"), on_event=print)   # the `complete` event
    for message in watch(url, token, upload_id): ...                # resumes by itself

Everything that goes wrong is a :class:`ClientError` with the service's own ``code`` where it
gave one. Which question is answered where: errors (what can go wrong), connection (how to
reach the service), patience (how long to go on trying), watching (the stream), sending (the
file as it is read), posting (the lost answer), snapshot, uploading (all of it together).
"""

from __future__ import annotations

from uploadsvc.client.errors import ClientError
from uploadsvc.client.uploading import await_end, upload
from uploadsvc.client.watching import watch

__all__ = ["ClientError", "await_end", "upload", "watch"]
