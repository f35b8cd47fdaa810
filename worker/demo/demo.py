"""`hashwarden demo`: the whole system on this machine, afresh, on real pictures; it ends with this process.

It never touches a real deployment: settings of one are put aside, and everything listens on loopback only.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from worker.demo.deployment import Deployment
    from worker.demo.screen import Screen

_ENDED = 128
"""What shells add to a signal's number in an exit code."""


@click.command("demo", epilog="Example: hashwarden demo --once --state-dir /tmp/hashwarden-demo")
@click.option("--once", is_flag=True, help="End after the last act instead of leaving the system running.")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=lambda: os.environ.get("HASHWARDEN_STATE_DIR", "var"),
    show_default="var",
    help="Its folder `demo` takes database, index and logs; what an earlier demonstration left there is deleted.",
)
def demo_command(once: bool, state_dir: Path) -> None:
    """Run the whole system on this machine, on real pictures, and show what becomes of each upload.

    PostgreSQL, Valkey, S3 and SQS are embedded ones, the bank is a practice bank; all end with this command.
    Then it stays, with the review pages open, until Ctrl-C. Exit code 1: something did not come out as expected.
    """
    import structlog

    from worker.demo.acts import Acts
    from worker.demo.deployment import deployed
    from worker.demo.scenario import make_scenario
    from worker.demo.screen import Screen

    # Servers and services end with us in any case; this ends them in order.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    # What is logged in this process would break the table; services log to files.
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    started = time.monotonic()
    screen = Screen()
    screen.console.print("Hashwarden demonstration: real services on embedded servers, with a practice bank.")
    with ThreadPoolExecutor(1) as pool, ExitStack() as ending:
        making = pool.submit(make_scenario)
        deployment = ending.enter_context(deployed(state_dir / "demo", any_port=once))
        screen.console.print(
            f"PostgreSQL, Valkey, S3 and SQS are up after {time.monotonic() - started:.1f} s; "
            f"everything is kept in {deployment.embedded.state_dir}."
        )
        Acts(deployment, screen, making).play()
        seconds = time.monotonic() - started
        screen.console.print()
        if screen.failures:
            screen.console.print(
                f"{len(screen.failures)} of {screen.checks} checks did not come out as expected, "
                f"after {seconds:.0f} s. Logs: {deployment.embedded.state_dir / 'logs'}",
                style="bold red",
            )
        else:
            screen.console.print(
                f"All {screen.checks} checks came out as expected, in {seconds:.0f} s.", style="bold green"
            )
        if not once:
            _stay(deployment, screen)
    if screen.failures:
        sys.exit(1)


def _stay(deployment: Deployment, screen: Screen) -> None:
    """Shows what to try, and stays until Ctrl-C; a service that ends meanwhile is told once."""
    from worker.demo.deployment import BANK, BUCKET
    from worker.demo.media import PHOTOS

    config = _short(deployment.config_path)
    picture = _short(PHOTOS / "cat.jpg")
    mine = deployment.object_url("you/cat.jpg")
    screen.console.print("\nThe system is running. To try:")
    screen.pairs(
        (
            ("Review pages", deployment.review_url),
            ("Sign in, once", deployment.sign_in_link()),
            ("Metrics", f"{deployment.review_url}/metrics"),
            (
                "Practice bank",
                f"{deployment.bank_url}  give in the hash of a picture, see its case, take it back",
            ),
            ("Pull the bank", f"HASHWARDEN_CONFIG={config} {_short(Path(sys.argv[0]))} bank sync {BANK}"),
            ("S3", f"{deployment.embedded.s3_endpoint}  bucket {BUCKET}, no key needed"),
            ("Upload case 1", f"curl -H x-amz-acl:public-read -T {picture} {mine}"),
            ("A second later", f"curl -o /dev/null -w '%{{http_code}}\\n' {mine}"),
            ("Command line", f"HASHWARDEN_CONFIG={config} {_short(Path(sys.argv[0]))} uploads"),
        )
    )
    screen.console.print("Ctrl-C ends everything.")
    told: set[str] = set()
    try:
        while True:
            for service in deployment.services:
                if not service.running and service.name not in told:
                    told.add(service.name)
                    screen.console.print(
                        f"The service {service.name} ended; its log {service.log_path} says why."
                    )
            time.sleep(1)
    except KeyboardInterrupt:
        screen.console.print("\nEnding all parts.")


def _short(path: Path) -> Path:
    """Relative where it lies below the working folder."""
    here = Path.cwd()
    path = path.absolute()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _end(number: int, _frame: object) -> NoReturn:
    """Unwinds, so that all parts are ended in order."""
    sys.exit(_ENDED + number)
