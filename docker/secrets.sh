#!/bin/sh
# Makes the secrets of docker/compose.yaml in docker/secrets, or in the folder that is named. What is there stays as it is.
set -eu

folder=${1:-$(CDPATH='' cd "$(dirname "$0")" && pwd)/secrets}
umask 077
mkdir -p "$folder"

# Compose mounts the files as they are, and the container's user is another: the folder keeps others out.
put() {
    [ -e "$folder/$1" ] && return
    printf '%s\n' "$2" > "$folder/.new"
    chmod 0444 "$folder/.new"
    mv -f "$folder/.new" "$folder/$1"
}
random() {
    od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'
}
of() {
    cat "$folder/$1"
}

put postgres_password "$(random 24)"
put owner_password "$(random 24)"
put pages_password "$(random 24)"
put database__url "postgresql+psycopg://hashwarden:$(of owner_password)@postgres/hashwarden"
put pages_database_url "postgresql+psycopg://hashwarden_pages:$(of pages_password)@postgres/hashwarden"
put storage__access_key "$(random 10)"
put storage__secret_key "$(random 20)"
put webhook__secret "whsec_$(head -c 32 /dev/urandom | base64)"
put inbox__platform_tokens "[\"$(random 32)\"]"
put inbox__store_tokens "[\"$(random 32)\"]"
put broker_password "$(random 24)"
put broker__url "redis://:$(of broker_password)@valkey:6379/0"
# maxmemory with noeviction: a full broker refuses wake-up calls, and drops none.
put valkey_conf "requirepass $(of broker_password)
appendonly yes
appendfsync everysec
maxmemory 512mb
maxmemory-policy noeviction
dir /data"
