# Shared by the scripts here: saying what is done, and installing what a build and its tests need. To be sourced by bash.

# With the seconds since the script began, so that one can see what takes long.
say() { printf '\n==> [%d s] %s\n' "$SECONDS" "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Runs a command as root: directly, or through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -n "$@" || fail "'sudo $*' failed; run it yourself, or run this script as root"
    else
        fail "this needs root and there is no sudo; run as root: $*"
    fi
}

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Installs those Debian packages of the arguments that are missing.
install_packages() {
    local missing=() package drop_in=""
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "Installing Debian packages: ${missing[*]}"
    as_root apt-get update -q </dev/null
    # The package would make a cluster and start it, which nobody asked for: the tests make their own. A setting for the time
    # of the installation keeps it from that.
    if ! is_installed postgresql-15 && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        drop_in=/etc/postgresql-common/createcluster.d/none-while-installing.conf
        as_root mkdir -p "${drop_in%/*}"
        printf 'create_main_cluster = false\n' | as_root tee "$drop_in" >/dev/null
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" </dev/null
    [ -z "$drop_in" ] || as_root rm -f "$drop_in"
}

# What building and running against PostgreSQL 15 takes. PG_BIN_15 may name the directory of its programs.
install_needs() {
    # rustup's installer changes PATH for shells that start later.
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
    fi
    command -v cargo >/dev/null || fail "there is no cargo: install Rust from https://rustup.rs and run this again"
    if [ -n "${PG_BIN_15:-}" ]; then
        [ -x "$PG_BIN_15/postgres" ] || fail "PG_BIN_15 is $PG_BIN_15, but there is no postgres in it"
    elif command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
        install_packages gcc libc6-dev postgresql-15 postgresql-client-15 postgresql-server-dev-15
    elif [ ! -x /usr/lib/postgresql/15/bin/postgres ]; then
        fail "PostgreSQL 15 was not found, and this is not Debian. Install PostgreSQL 15 with its contrib modules and server headers \
and a C compiler, set PG_BIN_15 to the directory that holds postgres, initdb and psql, and run this again."
    fi
    command -v cc >/dev/null || fail "there is no C compiler (cc)"
}

# As root, the servers of the tests run as the user postgres. If that user cannot reach the program (the sources lie in root's
# home, say), the tests are told to run a copy of it.
program_for_tests() {
    [ "$(id -u)" -eq 0 ] || return 0
    id postgres >/dev/null 2>&1 || fail "PostgreSQL does not run as root, and there is no user postgres to run it as"
    setpriv --reuid=postgres --regid=postgres --clear-groups test -x "$1" && return 0
    local copy
    copy=$(mktemp -d)
    # shellcheck disable=SC2064 # the directory of now is meant
    trap "rm -rf '$copy'" EXIT
    chmod 755 "$copy"
    cp "$1" "$copy/pageserver"
    export PAGESERVER_BIN="$copy/pageserver"
    say "The user postgres cannot reach $(realpath "$1"): the tests run a copy, $PAGESERVER_BIN"
}
