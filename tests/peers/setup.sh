#!/usr/bin/env bash
# Installs the programs of other projects that the tests use as peers, into target/peers (or the folder given).
# Quick when nothing has changed; safe to run twice at once.
set -eu

peers=$(cd "$(dirname "$0")" && pwd)
to=${1:-$peers/../../target/peers}
mkdir -p "$to"
to=$(cd "$to" && pwd)

exec 9>"$to/setup.lock"
flock 9

# The virtual environment is complete once it holds a copy of the requirements that it was made from.
if ! cmp -s "$peers/python/requirements.txt" "$to/venv/requirements.txt"; then
    rm -rf "$to/venv"
    python3 -m venv "$to/venv"
    "$to/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$peers/python/requirements.txt"
    cp "$peers/python/requirements.txt" "$to/venv/requirements.txt"
fi

if [ ! "$to/wsdl/vimService.wsdl" -nt "$peers/schema/vim_schema.py" ] ||
    [ ! "$to/wsdl/vimService.wsdl" -nt "$peers/python/vim_wsdl.py" ] ||
    [ ! "$to/wsdl/vimService.wsdl" -nt "$to/venv/requirements.txt" ]; then
    "$to/venv/bin/python" "$peers/python/vim_wsdl.py" "$to/wsdl" >/dev/null
fi

(cd "$peers/go" && go build -o "$to/" ./...)

# Tells the tests that all of it is there.
touch "$to/setup.done"
