"""gunicorn's settings, all from ours: ``gunicorn -c gunicorn.conf.py wsgi:app``."""

import os
import subprocess
import sys

from uploadsvc import log
from uploadsvc.server import life
from uploadsvc.server.logger import QuietLogger
from uploadsvc.settings import EXIT_STATUS, Settings, SettingsError

# Connections beyond the streams: uploads, snapshots, and healthz, which must get in when
# every stream is taken.
RESERVE = 512

try:
    settings = Settings.from_env(os.environ)
except SettingsError as error:
    print(error, file=sys.stderr)
    sys.exit(EXIT_STATUS)

if settings.policy_file:
    # In a process of its own: what reads it has no business in the master.
    command = [sys.executable, "-m", "uploadsvc.cli", "policy", "check"]
    checked = subprocess.run(
        [*command, settings.policy_file], capture_output=True, text=True
    )
    if checked.returncode:
        print(f"UPLOADSVC_POLICY_FILE: {checked.stderr.strip()}", file=sys.stderr)
        sys.exit(EXIT_STATUS)

log.configure(development=settings.development, level=settings.log_level)
life.raise_file_limit(settings.max_streams + RESERVE)

bind = settings.bind
workers = settings.workers
worker_class = "uploadsvc.server.worker.UploadWorker"
worker_connections = settings.max_streams + RESERVE
logger_class = QuietLogger
proc_name = "uploadsvc"

# A preloaded app would start greenlets and children in the master, before the patching.
preload_app = False
# It would be opened under $HOME, which a service may not have.
control_socket_disable = True

loglevel = settings.log_level
# Room for a long token in the arguments; gunicorn takes no longer line.
limit_request_line = 8190

graceful_timeout = settings.grace_s
# The worker tells the master that it lives from its own loop; a blocked loop is killed.
timeout = 60
# An idle connection of the front is worth keeping longer than its own idle time (60 s).
keepalive = 75

# The front sets X-Forwarded-*; the app itself decides whom to believe.
forwarded_allow_ips = "127.0.0.1,::1"


def when_ready(server):
    if settings.development:
        subprocess.Popen([sys.executable, "-m", "uploadsvc.server.greeting"])


def post_worker_init(worker):
    life.started(worker)


def worker_exit(server, worker):
    life.ended(worker)
