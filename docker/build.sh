#!/bin/sh
# Builds Hashwarden into a virtual environment: the same steps for the image and for a host without Docker.
#
#     docker/build.sh TARGET [WHEELS]
#
# TARGET is where the environment is made and stays: its programs name it. Wheels go to the folder WHEELS, else to a
# temporary one. Needs Python 3.11 or newer with venv and headers, and a C++ compiler; PYTHON names another `python3`.
# Only what docker/requirements.lock and requirements-build.lock name by hash is downloaded. The source is only read.
set -eu

target=${1:?"Name the folder that the environment is made in: docker/build.sh TARGET [WHEELS]"}
source=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wheels=${2:-$work/wheels}
tools=$work/tools/bin/python

# The tools are not part of what is built: no pip and no compiler's helper stays in TARGET.
"${PYTHON:-python3}" -m venv "$work/tools"
"$tools" -m pip install --quiet --require-hashes -r "$source/requirements-build.lock"

# --no-build-isolation: what is compiled is built by the pinned tools alone.
# A copy, because setuptools writes beside what it builds, and the source may be read-only.
mkdir "$work/source"
cp -R "$source/pyproject.toml" "$source/README.md" "$source/LICENSE" \
    "$source/config" "$source/bank_sync" "$source/worker" "$work/source"
chmod -R u+w "$work/source"
"$tools" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$wheels" "$work/source"

"$tools" -m pip wheel --quiet --require-hashes --no-deps --no-build-isolation \
    --wheel-dir "$wheels" -r "$source/docker/requirements.lock"

"${PYTHON:-python3}" -m venv --without-pip "$target"
"$tools" -m pip --python "$target/bin/python" install --quiet --no-index --no-deps "$wheels"/*.whl
"$tools" -m pip --python "$target/bin/python" check --quiet

# Without these two it would run, at a tenth of the speed.
"$target/bin/python" -P -c 'import bank_sync.index._buckets, worker.retro._near'
"$target/bin/hashwarden" --version
