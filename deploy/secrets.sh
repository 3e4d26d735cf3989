#!/usr/bin/env bash
# Makes what compose.yaml mounts from deploy/secrets: random passwords, the addresses that hold them, and a first key.
# What is there already stays as it is.
#
#   deploy/secrets.sh [IMAGE]     IMAGE (such as florin:0.1.0) makes the key; without it only passwords are made
set -euo pipefail

usage() {
    echo "usage: deploy/secrets.sh [IMAGE]" >&2
    exit 2
}

[ $# -le 1 ] || usage
case ${1-} in -*) usage ;; esac

directory=$(cd "$(dirname "$0")" && pwd)/secrets

# Containers run as users of their own and must be able to read the files; the directory keeps everybody else of this machine out.
umask 077
mkdir -p "$directory/keys"
chmod 755 "$directory/keys"

# Writes a new file whose content comes from the standard input. An existing one is kept.
secret() {
    local path=$directory/$1
    if [ -e "$path" ]; then
        cat >/dev/null
        return
    fi
    cat >"$path.new"
    chmod 444 "$path.new"
    mv "$path.new" "$path"
    echo "made $path"
}

# 256 random bits, in letters that need no quoting in an address.
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

random | secret postgres-password
random | secret redis-password
postgres=$(<"$directory/postgres-password")
redis=$(<"$directory/redis-password")
printf 'postgres://florin:%s@postgres:5432/florin' "$postgres" | secret database-url
printf 'redis://:%s@redis:6379/0' "$redis" | secret redis-url
secret redis-conf <<CONF
requirepass $redis
# Below the container's limit, with room for what clients are sent. The least used entries go first; readers ask the store for them.
maxmemory 768mb
maxmemory-policy allkeys-lru
save ""
appendonly no
CONF

if [ -n "${1-}" ] && [ ! -e "$directory/keys/api-keys" ]; then
    # The one time that the key is shown.
    docker run --rm --network none --user "$(id -u):$(id -g)" --volume "$directory/keys:/keys" "$1" \
        keys new --scope admin --name first --file /keys/api-keys
    chmod 644 "$directory/keys/api-keys"
fi
