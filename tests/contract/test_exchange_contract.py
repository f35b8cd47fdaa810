"""What every exchange must do, each on its real source: a practice bank on a socket, a file, the own bank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from bank_sync.bank import BankRecord
from bank_sync.exchanges import open_exchange
from bank_sync.exchanges.protocol import Exchange, ExchangeError, FeedbackItem, Page
from bank_sync.sandbox.app import running
from bank_sync.sandbox.client import PracticeClient
from bank_sync.signals import write
from config.policy import BankSettings

SIGNALS = [("pdq", bytes([n]) * 32) for n in range(1, 6)] + [("video_md5", b"\x09" * 16)]


@dataclass(frozen=True)
class Source:
    """A bank of one kind: how it is filled, broken and reached, and what it should then show."""

    settings: BankSettings
    fill: Callable[[Sequence[tuple[str, bytes]]], object]
    break_: Callable[[], object]
    shows: bool = True


def _stopncii(_tmp_path: Path) -> Iterator[Source]:
    with running() as address, PracticeClient(address) as client:
        yield Source(
            client.bank_settings(page_size=2),
            client.open_case,
            lambda: client.set_faults(truncated_json={}),
        )


def _file(tmp_path: Path) -> Iterator[Source]:
    path = tmp_path / "bank.txt"
    path.write_text("# nothing yet\n")

    def fill(signals: Sequence[tuple[str, bytes]]) -> None:
        path.write_text("".join(f"{kind} {write(kind, signal)}\n" for kind, signal in signals))

    yield Source(BankSettings(exchange="file", path=path), fill, lambda: path.write_text("pdq 00\n"))


def _own(_tmp_path: Path) -> Iterator[Source]:
    yield Source(BankSettings(exchange="own"), lambda _signals: None, lambda: None, shows=False)


@pytest.fixture(params=[_stopncii, _file, _own], ids=["stopncii", "file", "own"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    yield from request.param(tmp_path)


def _pages(source: Source) -> list[Page]:
    with closing(open_exchange("bank", source.settings)) as exchange:
        return list(exchange.fetch(exchange.first_start, None))


def test_an_empty_bank_is_one_last_page_without_records(source: Source) -> None:
    (page,) = _pages(source)
    assert (page.records, page.rejects, page.more) == ((), (), False)


def test_it_shows_every_signal_and_ends(source: Source) -> None:
    source.fill(SIGNALS)
    pages = _pages(source)
    assert [page.more for page in pages] == [True] * (len(pages) - 1) + [False]
    shown = [(r.signal_type, r.signal) for page in pages for r in page.records]
    assert sorted(shown) == (sorted(SIGNALS) if source.shows else [])
    assert all(isinstance(r, BankRecord) and r.live for page in pages for r in page.records)


def test_it_can_be_read_twice(source: Source) -> None:
    source.fill(SIGNALS)
    assert [page.records for page in _pages(source)] == [page.records for page in _pages(source)]


def test_its_next_start_never_goes_back(source: Source) -> None:
    source.fill(SIGNALS)
    with closing(open_exchange("bank", source.settings)) as exchange:
        starts = [page.next_start for page in exchange.fetch(exchange.first_start, None)]
        assert all(start >= exchange.first_start for start in starts)
        again = list(exchange.fetch(max(starts), None))
    assert all(page.next_start >= max(starts) for page in again)


def test_what_it_can_not_read_is_one_error_that_says_what_to_do(source: Source) -> None:
    source.fill(SIGNALS)
    source.break_()
    if not source.shows:
        assert _pages(source)
        return
    with pytest.raises(ExchangeError) as caught:
        _pages(source)
    assert caught.value.next_step
    assert "0101" not in str(caught.value)


def test_it_takes_as_much_feedback_as_it_says(source: Source) -> None:
    source.fill(SIGNALS)
    with closing(open_exchange("bank", source.settings)) as exchange:
        items = [FeedbackItem(kind, signal, "Blocked") for kind, signal in SIGNALS]
        items = items[: exchange.max_feedback]
        exchange.submit_feedback(items)
        exchange.submit_feedback(items)
        told = _told(exchange)
    assert told == len(items)


def _told(exchange: Exchange) -> int:
    return sum(
        len(record.feedback) for page in exchange.fetch(exchange.first_start, None) for record in page.records
    )
