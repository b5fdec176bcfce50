#!/bin/sh
# Installs what the tests and the demo need beside Rust, or says what is missing.
# Quick when all is there already. usage: tests/setup.sh check | demo | test | fuzz | bench
set -eu

job=${1:?usage: tests/setup.sh check | demo | test | fuzz | bench}
missing=

# need PROGRAM PACKAGE: the Debian package is wanted when the program is not there.
need() {
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

need cc gcc
need make make
need pkg-config pkg-config
need qemu-img qemu-utils
need mkfs.ext4 e2fsprogs
need objcopy binutils
need curl curl
need /usr/bin/time time
[ "$job" = demo ] || [ "$job" = bench ] || need g++ g++
if [ "$job" = test ] || [ "$job" = bench ]; then
    need python3 python3
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
    [ -e /usr/lib/python3/dist-packages/VMDKstream.py ] || missing="$missing python3-vmdkstream"
fi
if [ "$job" = test ] || [ "$job" = bench ]; then
    # They build ISA-L, whose speed the benchmark's goals are of.
    need nasm nasm
    need autoreconf autoconf
    need automake automake
    need libtoolize libtool
fi
if [ "$job" = test ]; then
    need strace strace
    need valgrind valgrind
    pkg-config --exists sqlite3 2>/dev/null || missing="$missing libsqlite3-dev"
fi

if [ "$job" = check ]; then
    need shellcheck shellcheck
    need clang-format clang-format
fi

if [ -n "$missing" ]; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo="sudo -n"
    if command -v apt-get >/dev/null 2>&1 && $sudo true 2>/dev/null; then
        echo "setup: installing$missing"
        # shellcheck disable=SC2086 # each word is a package or a part of the command
        { $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq \
            --no-install-recommends $missing; } >/dev/null
    else
        echo "setup: please install these Debian packages, or your system's equivalents:$missing" >&2
        exit 1
    fi
fi

command -v cargo >/dev/null 2>&1 || {
    echo "setup: please install Rust 1.88 or newer (https://rustup.rs)" >&2
    exit 1
}
if [ "$job" = test ]; then
    command -v go >/dev/null 2>&1 || {
        echo "setup: please install Go 1.25 or newer (https://go.dev/dl): the tests talk to programs written in it" >&2
        exit 1
    }
fi
