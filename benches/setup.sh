#!/usr/bin/env bash
# Installs what `make bench` measures the library beside, into the folder given; quick when nothing has changed.
set -eu

benches=$(cd "$(dirname "$0")" && pwd)
root=$benches/..
requirements=$root/tests/peers/python/requirements.txt
mkdir -p "$1"
to=$(cd "$1" && pwd)

"$root/tests/setup.sh" bench

# The virtual environment is complete once it holds a copy of the requirements that it was made from.
if ! cmp -s "$requirements" "$to/venv/requirements.txt"; then
    rm -rf "$to/venv"
    python3 -m venv "$to/venv"
    "$to/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"
    cp "$requirements" "$to/venv/requirements.txt"
fi
if [ ! "$to/wsdl/vimService.wsdl" -nt "$to/venv/requirements.txt" ]; then
    "$to/venv/bin/python" -B "$root/tests/peers/python/vim_wsdl.py" "$to/wsdl" >/dev/null
fi
