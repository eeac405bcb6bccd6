"""The command ``uploadsvc``. One module per group of commands:

transfer (upload, watch: an HTTP client and nothing else), local (token, verify, settings: no
service needed), policy (policy check), blocklist (blocklist add, test) and terminal (how it looks).
"""

from __future__ import annotations

import click

from uploadsvc import __version__
from uploadsvc.cli import blocklist, local, policy, transfer


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Verified uploads with true progress."""


main.add_command(transfer.upload)
main.add_command(transfer.watch)
main.add_command(local.token)
main.add_command(local.verify)
main.add_command(local.settings)
main.add_command(policy.policy)
main.add_command(blocklist.blocklist)
