# Shared by the scripts here: saying what is done, and installing what a build and its tests need. To be sourced by bash.

say() { printf '\n==> %s\n' "$*"; }
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

# Installs those Debian packages of the arguments that are missing.
install_packages() {
    local missing=() package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "Installing Debian packages: ${missing[*]}"
    as_root apt-get update -q </dev/null
    # No cluster is to be made and started: the tests make their own.
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        as_root mkdir -p /etc/postgresql-common
        printf 'create_main_cluster = false\n' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" </dev/null
}

# What building and running against PostgreSQL 15 takes. PG_BIN_15 may name the directory of its programs.
install_needs() {
    if [ -n "${PG_BIN_15:-}" ]; then
        [ -x "$PG_BIN_15/postgres" ] || fail "PG_BIN_15 is $PG_BIN_15, but there is no postgres in it"
    elif command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
        install_packages gcc libc6-dev pkg-config postgresql-15 postgresql-client-15 postgresql-server-dev-15
    elif [ ! -x /usr/lib/postgresql/15/bin/postgres ]; then
        fail "PostgreSQL 15 was not found, and this is not Debian. Install PostgreSQL 15 with its contrib modules and server headers \
and a C compiler, set PG_BIN_15 to the directory that holds postgres, initdb and psql, and run this again."
    fi
    command -v cc >/dev/null || fail "there is no C compiler (cc)"
    command -v cargo >/dev/null || fail "there is no cargo: install Rust from https://rustup.rs and run this again"
}
