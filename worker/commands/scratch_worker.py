"""Servers, an index and one worker of its own for a measurement, each on the core that it shall have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from config.database import make_engine, make_sessions
from config.settings import Settings, load_settings
from worker.bench.cores import Cores
from worker.bench.pipeline import PIPELINE_SETTINGS, Place, fill_index, make_bucket
from worker.bench.uploads import Pictures
from worker.commands.scratch import scratch_servers
from worker.demo.deployment import Service
from worker.demo.embedded import ACCESS_KEY, REGION, SECRET_KEY, Embedded
from worker.queue.celery_app import Announcer


@contextmanager
def scratch_worker(cores: Cores, concurrency: int, matching: Pictures, hashes: int) -> Iterator[Place]:
    """A worker that runs, with an index of so many hashes and the one of `matching`."""
    with scratch_servers() as servers:
        cores.give_others([server.pid for server in (servers.postgres, servers.valkey, servers.moto)])
        settings = _settings(servers)
        engine = make_engine(settings.database)
        with closing(Announcer(settings)) as announce:
            place = Place(settings, make_sessions(engine), announce, cores, concurrency)
            make_bucket(settings)
            fill_index(place, matching, hashes)
            worker = Service(
                "worker",
                ["worker", "--lane", "image", "--concurrency", str(concurrency)],
                servers.state_dir,
                _environment(settings),
            )
            worker.begin()
            try:
                cores.give_worker(worker.pid)
                yield place
            finally:
                worker.stop()
                engine.dispose()


def _settings(servers: Embedded) -> Settings:
    return load_settings(
        **{
            **PIPELINE_SETTINGS,
            "storage": {
                **PIPELINE_SETTINGS["storage"],
                "endpoint_url": servers.s3_endpoint,
                "region": REGION,
                "access_key": ACCESS_KEY,
                "secret_key": SECRET_KEY,
            },
            "state_dir": servers.state_dir / "state",
            "database": {"url": servers.database_url},
            "broker": {"url": servers.broker_url},
        }
    )


def _environment(settings: Settings) -> dict[str, str]:
    """What tells the worker of these servers."""
    return {
        "HASHWARDEN_STATE_DIR": str(settings.state_dir),
        "HASHWARDEN_DATABASE__URL": settings.database.url.get_secret_value(),
        "HASHWARDEN_BROKER__URL": settings.broker.url.get_secret_value(),
        "HASHWARDEN_STORAGE__ENDPOINT_URL": settings.storage.endpoint_url or "",
        "HASHWARDEN_STORAGE__REGION": REGION,
        "HASHWARDEN_STORAGE__ACCESS_KEY": ACCESS_KEY,
        "HASHWARDEN_STORAGE__SECRET_KEY": SECRET_KEY,
        "HASHWARDEN_STORAGE__BUCKETS": f'["{settings.storage.buckets[0]}"]',
        "HASHWARDEN_BANKS__MEASURED__EXCHANGE": "file",
        "HASHWARDEN_BANKS__MEASURED__PATH": "-",
    }
