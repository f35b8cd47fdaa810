"""Settings from files: Docker and Kubernetes secrets and systemd credentials are folders with one value a file.

A file is named like the variable, in small letters without its beginning: `database__url` for HASHWARDEN_DATABASE__URL.
Unlike a variable, a file is not seen in `docker inspect`, /proc or a crash report.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic_settings import EnvSettingsSource

from config.errors import SettingsError

FOLDER_VARIABLE = "HASHWARDEN_SECRETS"


class SecretFiles(EnvSettingsSource):
    """Reads each file as the variable of that name would be read; without the variable, nothing."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        folder = os.environ.get(FOLDER_VARIABLE, "")
        if not folder:
            return {}
        return {f"{self.env_prefix.lower()}{name}": text for name, text in self._texts(Path(folder)).items()}

    def _texts(self, folder: Path) -> dict[str, str]:
        try:
            # Kubernetes keeps the versions of a secret in hidden folders beside the links to the files.
            names = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
            # A line's end is what an editor or `echo` adds.
            texts = {
                name.lower(): (folder / name).read_text(encoding="utf-8").rstrip("\r\n") for name in names
            }
        except (OSError, UnicodeDecodeError) as error:
            said = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise SettingsError(
                f"The secrets in {folder} can't be read: {said}.",
                next_step=f"Correct {FOLDER_VARIABLE}, or the permissions of the folder and its files.",
            ) from None
        for name in texts:
            if name.partition("__")[0] not in self.settings_cls.model_fields:
                raise SettingsError(
                    f"The file {name} in {folder} names no setting.",
                    next_step="Name it like `database__url`; docs/reference/settings.md lists every setting.",
                )
        return texts
