"""Every setting of Hashwarden as one typed tree: defaults here, overridden by TOML, then by the environment.

Sources, later ones win: the model's defaults, `config/default.toml`, `config/policy.toml`, `config/deadlines.toml`,
`config/reasons.toml`, `config/banks.toml`, the file that HASHWARDEN_CONFIG names, the files in the folder that
HASHWARDEN_SECRETS names, and HASHWARDEN_* variables with `__` between levels (HASHWARDEN_DATABASE__URL,
HASHWARDEN_BANKS__STOPNCII__FETCH_KEY).
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from config.deadlines import DeadlineSettings
from config.errors import SettingsError
from config.events import EventSettings
from config.exposure import ExposureSettings
from config.inbox import InboxSettings
from config.minors import MinorSettings
from config.oidc import OidcSettings
from config.policy import BankSettings, PolicySettings
from config.retention import RetentionSettings
from config.rules import Ruleset
from config.secret_files import SecretFiles

CONFIG_FILE_VARIABLE = "HASHWARDEN_CONFIG"
_PACKAGED = ("default.toml", "policy.toml", "deadlines.toml", "reasons.toml", "banks.toml")


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatabaseSettings(_Group):
    url: SecretStr = Field(
        SecretStr("postgresql+psycopg://hashwarden@localhost/hashwarden"),
        description="SQLAlchemy address of PostgreSQL 14 or newer, driver psycopg.",
    )
    pool_size: int = Field(5, ge=1, description="Connections a process keeps open.")
    connect_timeout: int = Field(5, ge=1, description="Seconds to wait for a connection.")


class BrokerSettings(_Group):
    url: SecretStr = Field(
        SecretStr("redis://localhost:6379/0"),
        description="Redis or Valkey for the wake-up calls; redis:// or redis+socket://.",
    )
    key_prefix: str = Field("hashwarden:", description="Prefix of every key in the broker.")
    visibility_timeout: int = Field(
        1800,
        ge=10,
        description="Seconds until an unacknowledged call is given out again; over every hard limit.",
    )


class StorageSettings(_Group):
    endpoint_url: str | None = Field(None, description="Address of the S3 service; empty means AWS.")
    region: str = Field("us-east-1", description="Region for signing.")
    access_key: SecretStr | None = Field(None, description="Access key; empty means boto3's own chain.")
    secret_key: SecretStr | None = Field(None, description="Secret key; empty means boto3's own chain.")
    buckets: list[str] = Field(default_factory=list, description="Buckets whose uploads are scanned.")
    quarantine_bucket: str = Field(
        "", description="Private bucket that takes held objects of buckets without versions."
    )
    connect_timeout: float = Field(5, gt=0, description="Seconds to wait for a connection to the store.")
    read_timeout: float = Field(30, gt=0, description="Seconds to wait for the next bytes from the store.")


class SweepSettings(_Group):
    recent_every: float = Field(300, gt=0, description="Seconds between sweeps for what no event told.")
    recent_window: float = Field(
        3600, gt=0, description="A recent sweep looks at objects modified in these last seconds."
    )
    full_every: float = Field(86400, gt=0, description="Seconds between full sweeps.")
    rate: float = Field(2000, gt=0, description="Object versions a full sweep lists per second at most.")


class QueueSettings(_Group):
    max_attempts: int = Field(
        4, ge=1, description="Attempts before an upload is unscannable (out_of_attempts)."
    )
    lease_image: float = Field(
        120, gt=0, description="Seconds an image's lease lasts; over the hard time limit."
    )
    lease_video: float = Field(
        960, gt=0, description="Seconds a video's lease lasts; over the hard time limit."
    )
    soft_limit_image: float = Field(
        60, gt=0, description="Celery soft time limit on the image queue, in seconds."
    )
    hard_limit_image: float = Field(
        90, gt=0, description="Celery hard time limit on the image queue, in seconds."
    )
    soft_limit_video: float = Field(
        840, gt=0, description="Celery soft time limit on the video queue, in seconds."
    )
    hard_limit_video: float = Field(
        900, gt=0, description="Celery hard time limit on the video queue, in seconds."
    )
    retry_base: float = Field(
        5, gt=0, description="Seconds before the first retry; each further one waits four times longer."
    )
    retry_max: float = Field(900, gt=0, description="The longest wait between two attempts, in seconds.")
    dispatch_every: float = Field(15, gt=0, description="Seconds between two rounds of the dispatcher.")
    reannounce_after: float = Field(120, gt=0, description="Seconds until a due row is announced again.")
    depth: int = Field(5000, ge=1, description="The dispatcher fills a broker queue up to this many calls.")


class MediaSettings(_Group):
    spool_bytes: int = Field(512 * 2**20, ge=1, description="Largest object that is decoded.")
    digest_bytes: int = Field(
        5 * 2**30, ge=1, description="Largest object that is read for its MD5 and SHA-256."
    )
    frames_per_second: float = Field(
        32.0,
        ge=4,
        description="Frames looked up of each second of a video, at most; a long one is thinned to fit 5,400.",
    )


class IndexSettings(_Group):
    epochs: str = Field(
        "", description="Folder of the published epochs; empty means `epochs` in the state folder."
    )
    engine: Literal["auto", "faiss"] = Field(
        "auto",
        description="auto: buckets where they beat FAISS flat; faiss: FAISS flat alone. Counts from the next epoch.",
    )
    poll_every: float = Field(2, gt=0, description="Seconds between a worker's looks at the epoch pointer.")
    keep: int = Field(3, ge=1, description="Published epochs kept for roll-back.")
    compact_after: float = Field(
        86400,
        gt=0,
        description="Seconds until what was withdrawn leaves the base files too; as long again until older files go.",
    )
    publish_to: str = Field(
        "", description="s3://bucket/prefix from which all hosts pull the epochs; empty: the folder alone."
    )

    @field_validator("publish_to")
    @classmethod
    def _is_a_prefix(cls, address: str) -> str:
        if address and not re.fullmatch(r"s3://[^/]+(/.*)?", address):
            raise ValueError("it is not like s3://bucket/prefix")
        return address


class LedgerSettings(_Group):
    enabled: bool = Field(
        False,
        description="Keep the hashes of cleared uploads, and search them when a bank gets new hashes (retro-hunt).",
    )
    days: int = Field(90, ge=1, description="Days that the hashes of a cleared upload are kept.")


class WebhookSettings(_Group):
    url: str = Field("", description="Where the platform takes events; empty: no webhook.")
    secret: SecretStr | None = Field(None, description="Standard-webhooks secret (whsec_...).")
    second_secret: SecretStr | None = Field(
        None, description="A second one that signs each event too, while the secret is being changed."
    )
    timeout: float = Field(15, gt=0, description="Seconds to wait for the platform's answer.")

    @property
    def secrets(self) -> list[str]:
        """What each event is signed with; empty: nothing is sent."""
        return [
            secret.get_secret_value()
            for secret in (self.secret, self.second_secret)
            if secret is not None and secret.get_secret_value()
        ]


class ReviewSettings(_Group):
    host: str = Field("127.0.0.1", description="Address the review pages, metrics and probes listen on.")
    port: int = Field(8765, ge=0, le=65535, description="Port of the review pages, metrics and probes.")
    tls: bool = Field(
        False,
        description="TLS is in front: cookies are Secure, HSTS is sent, other hosts may be listened to.",
    )
    url: str = Field("", description="Where people reach the pages; empty: the address they listen on.")
    session_lasts: float = Field(43200, gt=0, description="Seconds until a sign-in ends, however busy it is.")
    idle_after: float = Field(3600, gt=0, description="Seconds without a page until a sign-in ends.")
    language: str = Field(
        "auto", description="Language of the pages: `auto` (what the browser asks for), `en`, `de`."
    )
    reasons: dict[str, str] = Field(
        default_factory=dict, description="The short list of reasons: a code and its words."
    )

    @property
    def address(self) -> str:
        """Where people reach the pages, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.url.rstrip("/") or f"{'https' if self.tls else 'http'}://{host}:{self.port}"


class AlarmSettings(_Group):
    bank_stale_after: float = Field(
        7200, gt=0, description="Seconds without a drained sync until a bank is stale."
    )
    pending_after: float = Field(
        300, gt=0, description="Age in seconds at which a pending upload is an alarm."
    )
    index_stale_after: float = Field(7200, gt=0, description="Age in seconds at which the index is an alarm.")


class LogSettings(_Group):
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is written."
    )
    format: Literal["json", "console"] = Field("json", description="json for machines, console for people.")


class Settings(BaseSettings):
    """The whole tree. Read it with `load_settings()`, which turns every fault into one `SettingsError`."""

    model_config = SettingsConfigDict(
        env_prefix="HASHWARDEN_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    state_dir: Path = Field(
        Path("var"), description="Folder for everything this host keeps: epochs, spools, embedded data."
    )
    database: DatabaseSettings = DatabaseSettings()
    broker: BrokerSettings = BrokerSettings()
    storage: StorageSettings = StorageSettings()
    events: EventSettings = EventSettings()
    inbox: InboxSettings = InboxSettings()
    sweep: SweepSettings = SweepSettings()
    queue: QueueSettings = QueueSettings()
    media: MediaSettings = MediaSettings()
    index: IndexSettings = IndexSettings()
    ledger: LedgerSettings = LedgerSettings()
    retention: RetentionSettings = RetentionSettings()
    webhook: WebhookSettings = WebhookSettings()
    review: ReviewSettings = ReviewSettings()
    oidc: OidcSettings = OidcSettings()
    exposure: ExposureSettings = ExposureSettings()
    minors: MinorSettings = MinorSettings()
    alarms: AlarmSettings = AlarmSettings()
    logs: LogSettings = LogSettings()
    policy: PolicySettings = PolicySettings()
    deadlines: DeadlineSettings = DeadlineSettings()
    banks: dict[str, BankSettings] = Field(
        default_factory=lambda: {"own": BankSettings(exchange="own")}, description="The banks by name."
    )

    _unapproved: Ruleset | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _banks_name_deadlines(self) -> Settings:
        if fault := self._without_deadline(self.banks):
            raise ValueError(fault)
        return self

    def _without_deadline(self, banks: dict[str, BankSettings]) -> str:
        for name, bank in banks.items():
            if bank.deadline not in self.deadlines.profiles:
                return f"bank {name} names the deadline {bank.deadline!r}, which deadlines.profiles has not"
        return ""

    @property
    def rules(self) -> Ruleset:
        return Ruleset.of(self.policy, self.banks)

    @property
    def unapproved(self) -> Ruleset | None:
        """The rules of the files, where others are in force."""
        return self._unapproved

    def under(self, approved: Ruleset) -> Settings:
        """These settings, of files, with the approved rules instead of their own. Raises SettingsError."""
        banks = approved.banks_of(self.banks)
        if fault := self._without_deadline(banks):
            raise SettingsError(f"Of the approved rules, {fault}.", next_step="Put that profile back.")
        made = self.model_copy(update={"policy": approved.policy, "banks": banks})
        made._unapproved = self.rules
        return made

    @property
    def revision(self) -> str:
        """Twelve hex digits that name all settings but the secrets; recorded when a service starts."""
        # Secrets are written as asterisks.
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    @property
    def told_of_uploads(self) -> bool:
        """Whether anything tells of uploads before the sweep finds them."""
        return self.events.has_source or self.inbox.is_open

    @property
    def epochs_dir(self) -> Path:
        return Path(self.index.epochs) if self.index.epochs else self.state_dir / "epochs"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (signature fixed by pydantic-settings)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SecretFiles(settings_cls), _TomlFiles(settings_cls)


class _TomlFiles(PydanticBaseSettingsSource):
    """The packaged TOML files and the deployment's own, merged table by table."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ANN401, ARG002
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        here = Path(__file__).parent
        merged: dict[str, Any] = {}
        for path in [here / name for name in _PACKAGED]:
            _merge(merged, _read_toml(path))
        own = os.environ.get(CONFIG_FILE_VARIABLE)
        if own:
            _merge(merged, _read_toml(Path(own)))
        return merged


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"The settings file {path} can't be read: {error.strerror}.",
            next_step=f"Correct {CONFIG_FILE_VARIABLE} or the file's permissions.",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"The settings file {path} is not valid TOML: {error}.", next_step="Correct that line."
        ) from error


def _merge(into: dict[str, Any], new: dict[str, Any]) -> None:
    for name, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


def load_settings(**overrides: Any) -> Settings:  # noqa: ANN401 (pydantic validates each value)
    """Reads all sources; `overrides` win over all of them.

    Raises SettingsError naming the first setting at fault, never its value: it may be a secret.
    """
    try:
        return Settings(**overrides)
    except SourceError as error:
        # Raised before validation: a list or a table in a variable that is not JSON. Its text names the field.
        field = re.search(r'"(\w+)"', str(error))
        raise SettingsError(
            f"A HASHWARDEN_{field.group(1).upper() if field else ''}* variable is not valid JSON.",
            next_step='Lists are written like \'["first", "second"]\'.',
        ) from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"The setting {name} is not usable: {first['msg']}.",
            next_step="docs/reference/settings.md lists every setting with its type and default.",
        ) from None
