#!/usr/bin/env bash
# Runs a command with a PostgreSQL it may make databases on, named in TANDEM_TEST_POSTGRES.
#
# Uses the server that TANDEM_TEST_POSTGRES names, or one on this machine that lets us in. Otherwise it starts a private
# cluster in a temporary folder, installing PostgreSQL when it is missing, and removes it at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

[ $# -gt 0 ] || fail "usage: scripts/with-postgres.sh COMMAND…"

find_bin() {
    local found
    found=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
    if [ -n "$found" ] && [ -x "$found/initdb" ]; then
        echo "$found"
    elif command -v initdb >/dev/null; then
        dirname "$(command -v initdb)"
    fi
}

# May databases be made there? `psql` may be missing; then nothing can be said and a private cluster is started.
lets_us_in() {
    command -v psql >/dev/null &&
        [ "$(psql "$1" -XAtc 'SELECT rolcreatedb FROM pg_roles WHERE rolname = current_user' 2>/dev/null)" = t ]
}

if [ -n "${TANDEM_TEST_POSTGRES:-}" ]; then
    headline "PostgreSQL: the server that TANDEM_TEST_POSTGRES names"
    exec "$@"
fi
for url in "postgres://$(id -un)@127.0.0.1:5432/postgres" "postgres://postgres@127.0.0.1:5432/postgres"; do
    if lets_us_in "$url"; then
        headline "PostgreSQL: the server on 127.0.0.1:5432"
        TANDEM_TEST_POSTGRES=$url exec "$@"
    fi
done

bin=$(find_bin)
if [ -z "$bin" ]; then
    headline "PostgreSQL is missing: installing it"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >/dev/null &&
        # The cluster that the package would make is not wanted.
        as_root sh -c 'mkdir -p /etc/postgresql-common && [ -e /etc/postgresql-common/createcluster.conf ] ||
            echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf' &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >/dev/null ||
        fail "PostgreSQL cannot be installed: install it, or name a server in TANDEM_TEST_POSTGRES"
    bin=$(find_bin)
    [ -n "$bin" ] || fail "PostgreSQL was installed, but initdb is not where it should be"
fi

# PostgreSQL refuses to run as root, so root lends it an unprivileged user.
if [ "$(id -u)" = 0 ]; then
    owner=postgres
    id "$owner" >/dev/null 2>&1 || useradd --system --no-create-home "$owner"
    as_owner() { su -s /bin/sh "$owner" -c "$*"; }
else
    owner=$(id -un)
    as_owner() { sh -c "$*"; }
fi

# A Unix socket's path may have about 100 characters, so the folder is not under a long TMPDIR.
folder=$(mktemp -d /tmp/tandem-pg.XXXXXX)
[ "$(id -u)" = 0 ] && chown "$owner" "$folder"
stop() {
    as_owner "$bin/pg_ctl -D $folder/data -m immediate stop" >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT TERM

headline "PostgreSQL: a private cluster in $folder"
as_owner "$bin/initdb -D $folder/data -U tandem -A trust -E UTF8 --locale=C --no-instructions" >/dev/null
# A port of the kernel's choosing: two runs on one machine must not meet. Durability stays on, the tests rely on it.
for attempt in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 20000))
    if as_owner "$bin/pg_ctl -D $folder/data -w -t 60 -l $folder/log \
        -o '-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$folder -c max_connections=300' start" >/dev/null; then
        started=yes
        break
    fi
done
[ "${started:-no}" = yes ] || { cat "$folder/log" >&2; fail "PostgreSQL does not start"; }

TANDEM_TEST_POSTGRES="postgres://tandem@127.0.0.1:$port/postgres" "$@"
