"""`hashwarden alive`: the check of containers and units, without database or network."""

from __future__ import annotations

import os
from pathlib import Path

import click

from config.errors import SettingsError
from worker.operate.alive import FOLDER_VARIABLE, STUCK_SECONDS, signs


@click.command(epilog="Example: hashwarden alive")
def alive() -> None:
    """Whether the services of this host turn: none runs that is stuck. For health checks of containers.

    Each service touches a file in the folder that RUNTIME_DIRECTORY names, as long as all its loops come round; a
    worker as long as it can take messages. Exit code 1 when none runs here, or a loop of one has not turned for ten
    minutes. The database is not asked: /health/ready is.
    """
    folder = os.environ.get(FOLDER_VARIABLE, "")
    try:
        found = signs(Path(folder)) if folder else []
    except OSError as error:
        raise SettingsError(
            f"The folder {folder} of {FOLDER_VARIABLE} can't be read: {error.strerror}.",
            next_step="Make it, writable for the services' user, and start them with the same variable.",
        ) from None
    if not folder or not found:
        raise SettingsError(
            "No service runs here that says so.",
            next_step=f"Set {FOLDER_VARIABLE} to the same folder for the services and this command.",
        )
    for sign in found:
        click.echo(f"{sign.service} (process {sign.pid}): turned {sign.age:.0f} s ago")
    if stuck := [sign.service for sign in found if sign.stuck]:
        raise click.ClickException(
            f"{', '.join(stuck)} did not turn for {STUCK_SECONDS:g} s. Restart it; its log says what it did last."
        )
