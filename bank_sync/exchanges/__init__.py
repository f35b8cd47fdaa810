"""Exchanges: where a bank's records come from, one module a wire."""

from __future__ import annotations

from bank_sync.exchanges.files import FileExchange
from bank_sync.exchanges.keys import BankKeys
from bank_sync.exchanges.own import OwnExchange
from bank_sync.exchanges.protocol import Exchange
from bank_sync.exchanges.stopncii import StopNciiExchange
from bank_sync.exchanges.stopncii_client import StopNciiClient
from config.policy import BankSettings


def open_exchange(name: str, bank: BankSettings) -> Exchange:
    """The exchange that a bank's settings name; close it after use."""
    if bank.exchange == "stopncii":
        keys = BankKeys(name, bank)
        client = StopNciiClient(name, bank.base_url, keys, timeout=bank.timeout)
        return StopNciiExchange(name, client, keys, bank.page_size)
    if bank.exchange == "file" and bank.path is not None:
        return FileExchange(bank.path)
    return OwnExchange()
