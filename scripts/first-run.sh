#!/usr/bin/env bash
# One file for a bare machine: sets up timetrial, runs it, and prints the row of this machine with
# what the set-up took. Copy it there and run it; run it again to go on, or to run once more.
#
#   bash first-run.sh                                   cloud-check --light
#   bash first-run.sh --price-per-hour 0.9              the same, with further flags of `timetrial run`
#   bash first-run.sh digits-cnn --seeds 1              any task or suite, with its flags
#
# Environment:
#   TIMETRIAL_SOURCE   checkout, wheel or sdist to install; default: timetrial from pip's index
#   TIMETRIAL_DATA     folder with the data set; default: its official archive is fetched
#   TIMETRIAL_EXTRAS   what to install with it; default: torch,gpu,images
#   TIMETRIAL_FOLDER   where everything goes; default: ./timetrial-first-run
#   PYTHON             the Python to use; default: the first of 3.11 or newer
# Index, proxy and certificates are those of pip's own settings (pip.conf, PIP_*). Without an index of
# CPU builds, pip's PyTorch for Linux brings CUDA: PIP_EXTRA_INDEX_URL chooses another.
#
# What is counted, in FOLDER/set-up.tsv: one command for copying this file, one for each time it is
# begun, one for each line it asks you to type; a manual step for the source and for the data that
# somebody brought. The clock runs from this script's first line to the first training step, over all
# its beginnings until a run is finished. `timetrial show RUNS --set-up FILE` reads it.
set -euo pipefail

now() { # seconds since 1970, as exact as this bash can
    if [ -n "${EPOCHREALTIME:-}" ]; then echo "${EPOCHREALTIME/,/.}"; else date +%s; fi
}
began=$(now)

usage() { sed -n '2,/^set -/{/^set -/!s/^# \{0,1\}//p}' "$0"; }

what=cloud-check
flags=(--light)
case ${1:-} in
    -h | --help) usage; exit 0 ;;
    '' | -*) flags+=("$@") ;;
    *) what=$1; shift; flags=("$@") ;;
esac
source=${TIMETRIAL_SOURCE:-timetrial}
extras=${TIMETRIAL_EXTRAS:-torch,gpu,images}
folder=${TIMETRIAL_FOLDER:-$PWD/timetrial-first-run}

say() { echo "first-run: $*"; }
fail() { echo "first-run: $*" >&2; exit 1; }

recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
if [ -n "${PYTHON:-}" ] && ! recent "$PYTHON"; then
    seen=$("$PYTHON" --version 2>&1) || seen="it cannot be run"
    fail "PYTHON=$PYTHON is no Python of 3.11 or newer: ${seen%%$'\n'*}. Name another, or leave it out to take the first that fits."
fi
if [ -n "${TIMETRIAL_SOURCE:-}" ]; then
    [ -e "$source" ] || fail "TIMETRIAL_SOURCE=$source does not exist; allowed: a checkout, a wheel or an sdist. Correct it, or leave it out to install from pip's index."
    source=$(cd "$(dirname "$source")" && pwd)/$(basename "$source")
fi
if [ -n "${TIMETRIAL_DATA:-}" ] && [ ! -d "${TIMETRIAL_DATA%%:*}" ]; then
    fail "TIMETRIAL_DATA=$TIMETRIAL_DATA is no folder. Correct it, or leave it out to fetch the data."
fi
mkdir -p "$folder" 2>/dev/null || fail "cannot make $folder. Name another with TIMETRIAL_FOLDER=DIR."
folder=$(cd "$folder" && pwd)
[ -w "$folder" ] || fail "cannot write to $folder. Name another with TIMETRIAL_FOLDER=DIR."
log=$folder/set-up.tsv
words=$folder/set-up.log # what apt and pip say
venv=$folder/venv

note() { # a line of the log: its words separated by tabs
    local IFS=$'\t'
    echo "$*" >>"$log"
}
ask() { # TEXT LINE...: end, with the lines to type
    local text=$1 line
    shift
    for line in "$@"; do note asked "$line"; done
    echo "first-run: $text Type:" >&2
    printf '    %s\n' "$@" >&2
    echo "then run this script again." >&2
    exit 1
}
phase() { # NAME FUNCTION: run it, note how long it took; it returns 3 where nothing was to be done
    local name=$1 begin status=0 word="done"
    begin=$(now)
    # not in a condition: that would switch off errexit inside
    set +e
    (set -e; "$2")
    status=$?
    set -e
    case $status in
        0) ;;
        3) word=reused ;;
        *) exit "$status" ;;
    esac
    note phase "$name" "$begin" "$(now)" "$word"
}
quietly() { # COMMAND...: its words go to the log file; its last ones are shown where it fails
    local status=0
    "$@" >>"$words" 2>&1 || status=$?
    [ "$status" = 0 ] && return
    echo "first-run: this failed (code $status): $*" >&2
    tail -n 12 "$words" >&2
    echo "first-run: all of it is in $words. Mend the cause and run this script again: it goes on here." >&2
    exit 1
}

if [ -f "$log" ] && grep -q '^finished' "$log"; then # an earlier first run: kept beside this one
    mv "$log" "$folder/set-up.$(date +%Y%m%dT%H%M%S).tsv"
fi
note invoked "$began"

# --- Python ---------------------------------------------------------------------------------------

find_python() { # prints PYTHON where it is set, else the first Python of 3.11 or newer
    local name
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON"
        return
    fi
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if recent "$name"; then
            command -v "$name"
            return
        fi
    done
    return 1
}
has_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }
packages() {
    local python
    if [ -x "$venv/bin/python" ] || { python=$(find_python) && has_venv "$python"; }; then
        say "packages: Python and venv are here"
        return 3
    fi
    if ! command -v apt-get >/dev/null; then
        fail "there is no Python of 3.11 or newer with venv, and no apt-get. Install one, and name it with PYTHON=/path/to/python3."
    fi
    local root=()
    if [ "$(id -u)" != 0 ]; then
        if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
            root=(sudo)
        else
            ask "Python's venv is missing, and only root can install it." \
                "su -c 'apt-get update && apt-get install -y python3-venv'"
        fi
    fi
    say "packages: installing python3-venv with apt-get"
    quietly ${root[@]+"${root[@]}"} apt-get update
    quietly ${root[@]+"${root[@]}"} env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends python3 python3-venv
    python=$(find_python) ||
        fail "this system's Python is $(python3 --version 2>&1); timetrial needs 3.11 or newer. Install one, and name it with PYTHON=/path/to/python3."
}
environment() {
    if "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        say "environment: $venv is here"
        return 3
    fi
    say "environment: making $venv"
    rm -rf "$venv"
    quietly "$(find_python)" -m venv "$venv"
}

# --- timetrial and data ---------------------------------------------------------------------------

install_timetrial() {
    local stamp="$source $extras" purelib
    if [ ! -d "$source" ] && [ "$(cat "$venv/installed" 2>/dev/null)" = "$stamp" ]; then
        say "timetrial: $("$venv/bin/timetrial" --version) is here"
        return 3
    fi
    say "timetrial: installing $source with $extras"
    quietly "$venv/bin/python" -m pip install --no-deps "$source"
    purelib=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    # the versions it was tested with; above all one PyTorch and no other
    quietly "$venv/bin/python" -m pip install \
        --constraint "$purelib/timetrial/constraints.txt" "timetrial[$extras]"
    echo "$stamp" >"$venv/installed"
}
data() { # of the data sets that the flags choose, else of the task's or suite's own
    local flag before='' chosen=()
    for flag in ${flags[@]+"${flags[@]}"}; do
        [ "$before" != --dataset ] || flag=--dataset=$flag
        case $flag in
            --dataset=*) IFS=, read -r -a chosen <<<"${flag#--dataset=}" ;;
        esac
        before=$flag
    done
    if [ "${#chosen[@]}" != 0 ]; then
        say "data: looking for ${chosen[*]}"
        "$venv/bin/timetrial" data fetch "${chosen[@]}"
        return
    fi
    say "data: looking for what $what needs"
    "$venv/bin/timetrial" data fetch --of "$what"
}

phase packages packages
phase environment environment
phase timetrial install_timetrial
if [ -n "${TIMETRIAL_SOURCE:-}" ] && ! grep -q '^manual.*source' "$log"; then
    note manual "brought the source"
fi
if [ -n "${TIMETRIAL_DATA:-}" ] && ! grep -q '^manual.*data' "$log"; then
    note manual "brought the data"
fi
phase data data

say "timetrial run $what ${flags[*]-}"
status=0
"$venv/bin/timetrial" run "$what" ${flags[@]+"${flags[@]}"} --store "$folder/runs" || status=$?
if [ "$status" != 0 ]; then
    fail "the run ended with code $status (see above). Run this script again: what is set up stays."
fi
note finished "$(now)"
echo
"$venv/bin/timetrial" show "$folder/runs" --set-up "$log"
