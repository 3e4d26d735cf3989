# shellcheck shell=bash
# Read by the scripts that need other programs: finds them, or installs them from Debian. Whoever reads it says before what happens
# when that fails, with a function `stop` that takes the reason.

# Makes sure that a check succeeds, by installing a Debian package if it does not.
need_package() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "$0: installing $package"
        apt-get update -qq && apt-get install -y -qq "$package" >/dev/null
    fi
    "$@" >/dev/null 2>&1 || stop "the Debian package $package is missing: install it and start again"
}

# Makes sure that a command is there, from a Debian package of this name if it has to be installed.
need() { need_package "$2" command -v "$1"; }

# Runs a command while the packages that it installs may start no server: who needs one starts it privately.
unstarted() {
    local policy=/usr/sbin/policy-rc.d
    if [ "$(id -u)" != 0 ] || [ -e "$policy" ]; then
        "$@"
        return
    fi
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    "$@"
    rm -f "$policy"
    trap - EXIT
}

need_cargo() {
    command -v cargo >/dev/null || [ ! -f "$HOME/.cargo/env" ] || . "$HOME/.cargo/env"
    command -v cargo >/dev/null || stop "cargo is missing: install Rust as https://rustup.rs says and start again"
}

need_postgresql() {
    unstarted need_package postgresql bash -c 'ls /usr/lib/postgresql/*/bin/initdb'
}

# A directory with Python programs of their own at the versions that a file lists, installed once.
need_python() {
    local directory=$1 list=$2
    ! cmp -s "$list" "$directory/installed" || return 0
    echo "$0: installing what $list names"
    need python3 python3
    need_package python3-venv python3 -c 'import ensurepip'
    if ! python3 -m venv --clear "$directory" ||
        ! "$directory/bin/pip" install --quiet --disable-pip-version-check -r "$list"; then
        stop "the packages of $list can not be installed from PyPI"
    fi
    cp "$list" "$directory/installed"
}
