#!/bin/sh
# The main job from end to end: a simulated vSphere with a volume that holds a real ext4 file system;
# the C tools back it up, it is damaged, and restored onto itself and as a new volume.
#
# usage: tests/demo.sh PREFIX SIMULATOR    (the installed library, the simulator's program)
set -eu

prefix=$1
simulator=$2
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/vmdk-demo-XXXXXX")
sim_pid=

finish() {
    status=$?
    [ -z "$sim_pid" ] || kill "$sim_pid" 2>/dev/null || true
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

say() { printf '\n== %s\n' "$*"; }

say "building the C tools against the installed library (pkg-config)"
PKG_CONFIG_PATH=$prefix/lib/pkgconfig
export PKG_CONFIG_PATH
for tool in backup restore; do
    # shellcheck disable=SC2046 # pkg-config's answer is several words
    ${CC:-cc} -std=c99 -Wall -Wextra -Wpedantic -Werror -O2 -o "$work/$tool" \
        "$root/examples/$tool.c" "$root/examples/arguments.c" "$root/examples/terminal.c" \
        $(pkg-config --cflags --libs vmdk_backup) -Wl,-rpath,"$prefix/lib"
done
echo "backup, restore: $(pkg-config --modversion vmdk_backup)"

say "filling a 1 GiB ext4 file system with files of this machine"
mkdir "$work/files"
find /usr/bin /usr/lib /usr/share -xdev -type f -readable -size -20M -printf '%s %P\0%H\0' 2>/dev/null |
    awk -v RS='\0' 'NR % 2 { size = $1; sub(/^[0-9]+ /, ""); path = $0; next }
                    { total += size; if (total > 700 * 1024 * 1024) exit; printf "%s/%s%c", $0, path, 0 }' \
        >"$work/list"
tar --null --files-from="$work/list" -C / -cf - 2>/dev/null | tar -xf - -C "$work/files"
mkfs.ext4 -q -F -d "$work/files" -E root_owner=0:0 "$work/volume.raw" 1G
rm -rf "$work/files"
echo "$(tr '\0' '\n' <"$work/list" | wc -l) files, $(du -m "$work/volume.raw" | cut -f1) MiB of 1024 allocated"

say "starting the simulated vCenter"
VSPHERE_SIM_PASSWORD=demo-password
export VSPHERE_SIM_PASSWORD
mkdir "$work/sim" "$work/backups"
"$simulator" --dir "$work/sim" --ready-file "$work/ready" \
    --volume "volume-1=$work/volume.raw,thin,uuid=3f2504e0-4f89-41d3-9a0c-0305e82c3301" &
sim_pid=$!
waited=0
until [ -s "$work/ready" ]; do
    kill -0 "$sim_pid"
    waited=$((waited + 1))
    [ "$waited" -lt 600 ] || { echo "the simulator does not start" >&2; exit 1; }
    sleep 0.1
done
url=$(sed -n 's/^url=//p' "$work/ready")
VSPHERE_SERVER=$url
VSPHERE_USER=$(sed -n 's/^user=//p' "$work/ready")
VSPHERE_CA_FILE=$(sed -n 's/^ca=//p' "$work/ready")
VSPHERE_PASSWORD=$VSPHERE_SIM_PASSWORD
export VSPHERE_SERVER VSPHERE_USER VSPHERE_CA_FILE VSPHERE_PASSWORD
echo "$url"

# ask QUERY: looks in on the simulator, past the library.
ask() { curl -sS --fail --cacert "$VSPHERE_CA_FILE" "${url%/sdk}/sim/$1"; }
digest() { ask "sha256?vm=$1" | grep -oE '[0-9a-f]{64}'; }
# run TOOL ARGUMENT...: and tells how long it took and how much memory it had at its peak.
run() {
    tool=$1
    shift
    /usr/bin/time -f "$tool: %e s, %M KiB of memory at its peak" "$work/$tool" "$@"
}
compare() {
    ask "save?vm=$1&path=$work/$1.raw" >/dev/null
    qemu-img compare -f raw -F raw "$work/volume.raw" "$work/$1.raw"
    [ "$(digest "$1")" = "$original" ] || { echo "$1 is not what it was" >&2; exit 1; }
    rm "$work/$1.raw"
    echo "$1: identical ($original)"
}

original=$(sha256sum "$work/volume.raw" | cut -d' ' -f1)
[ "$(digest volume-1)" = "$original" ]

say "backup of volume-1"
run backup --volume volume-1 --directory "$work/backups" --backup-id monday
for file in "$work"/backups/monday/*; do
    echo "${file##*/}: $(wc -c < "$file") bytes"
done
qemu-img compare -f vmdk -F raw "$work/backups/monday/disk.vmdk" "$work/volume.raw"

say "an accident: a part of the file system is overwritten"
ask "damage?vm=volume-1&offset=1024&count=4194304" >/dev/null
echo "before $original"
echo "now    $(digest volume-1)"
[ "$(digest volume-1)" != "$original" ]

say "restore onto volume-1, which stays the same virtual machine"
run restore --volume volume-1 --directory "$work/backups" --backup-id monday
compare volume-1

say "restore as a new volume, volume-2"
run restore --volume volume-2 --id 3f2504e0-4f89-41d3-9a0c-0305e82c3302 \
    --directory "$work/backups" --backup-id monday
compare volume-2
