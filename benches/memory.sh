#!/bin/sh
# Peak memory of the C tools: 1 GiB of data in a volume of 1 GiB and in a sparse one of 64 GiB.
#
# usage: benches/memory.sh PREFIX SIMULATOR [RUNS]    (the installed library, the simulator's program)
# Exits with 1 when a median is over 64 MiB, or the two volumes' medians differ by over 4 MiB.
set -eu

prefix=$1
simulator=$2
runs=${3:-5}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/vmdk-bench-XXXXXX")
sim_pid=
trap 'status=$?; [ -z "$sim_pid" ] || kill "$sim_pid" 2>/dev/null || true; rm -rf "$work"; exit $status' EXIT
trap 'exit 130' INT TERM

for tool in backup restore; do
    # shellcheck disable=SC2046 # pkg-config's answer is several words
    ${CC:-cc} -std=c99 -O2 -o "$work/$tool" "$root/examples/$tool.c" "$root/examples/arguments.c" \
        "$root/examples/terminal.c" \
        $(PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config --cflags --libs vmdk_backup) \
        -Wl,-rpath,"$prefix/lib"
done

# Programs and libraries of this machine, repeated to 1 GiB: they compress as such files do.
{ while cat /usr/bin/* 2>/dev/null || [ $? = 1 ]; do :; done; } | head -c 1073741824 >"$work/small.raw"
cp "$work/small.raw" "$work/large.raw"
truncate -s 64G "$work/large.raw"

VSPHERE_SIM_PASSWORD=bench-password
VSPHERE_PASSWORD=$VSPHERE_SIM_PASSWORD
export VSPHERE_SIM_PASSWORD VSPHERE_PASSWORD
mkdir "$work/sim" "$work/backups"
"$simulator" --dir "$work/sim" --ready-file "$work/ready" --volume "small=$work/small.raw" \
    --volume "large=$work/large.raw" >/dev/null &
sim_pid=$!
until [ -s "$work/ready" ]; do
    kill -0 "$sim_pid"
    sleep 0.1
done
value() { sed -n "s/^$1=//p" "$work/ready"; }
VSPHERE_SERVER=$(value url)
VSPHERE_USER=$(value user)
VSPHERE_CA_FILE=$(value ca)
export VSPHERE_SERVER VSPHERE_USER VSPHERE_CA_FILE

# median JOB VOLUME: the median peak of the runs, in KiB.
median() {
    run=0
    : >"$work/peaks"
    while [ "$run" -lt "$runs" ]; do
        run=$((run + 1))
        /usr/bin/time -a -o "$work/peaks" -f %M "$work/$1" --volume "$2" --quiet \
            --directory "$work/backups" --backup-id "$2-$run" >/dev/null
    done
    sort -n "$work/peaks" | sed -n "$(((runs + 1) / 2))p"
}

failed=0
printf '%-8s %18s %18s   (KiB, medians of %s)\n' job '1 GiB in 1 GiB' '1 GiB in 64 GiB' "$runs"
for job in backup restore; do
    small=$(median "$job" small)
    large=$(median "$job" large)
    printf '%-8s %18s %18s\n' "$job" "$small" "$large"
    [ "$large" -le 65536 ] && [ $((large - small)) -le 4096 ] && [ $((small - large)) -le 4096 ] ||
        failed=1
done
if [ "$failed" = 0 ]; then
    echo "within 64 MiB, and within 4 MiB of each other"
else
    echo "over the bound" >&2
fi
exit "$failed"
