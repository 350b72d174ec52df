# shellcheck shell=bash
# Words, clock, locks and the temporary folders every part of the build system uses.

say()  { [[ ${QUIET:-} ]] || printf '%s\n' "$*"; }
warn() { printf 'build-install.sh: %s\n' "$*" >&2; }
die()  { warn "$*"; exit 1; }
# shellcheck disable=SC2034  # read by the other parts
NETWORK_HINT='Is there a network, and behind a proxy are http_proxy and https_proxy set? For a host without one, make a bundle elsewhere (./build-install.sh bundle) and give it with --from'
# How Debian packages $@ come to this host; a fresh one has no package lists yet.
how_to_get() {
    local sudo=''
    ((EUID == 0)) || sudo='sudo '
    printf '%sapt-get update && %sapt-get install %s' "$sudo" "$sudo" "$*"
}
misuse() { warn "$*"; printf 'See ./build-install.sh --help\n' >&2; exit 2; }

# Milliseconds of a clock that only the length of steps is read from.
clock() { local now=$EPOCHREALTIME; printf '%s' $(( ${now/[.,]/} / 1000 )); }

# "3.2 s" since the clock value $1.
elapsed() {
    local ms=$(( $(clock) - $1 ))
    printf '%d.%d s' $(( ms / 1000 )) $(( ms % 1000 / 100 ))
}

digest()      { sha256sum -- "$1" | cut -d' ' -f1; }
digest_text() { sha256sum | cut -d' ' -f1; }

# Which bundle fits a host: the release, because libraries and Python come from it, and the processor.
host_kind() {
    local ID='' VERSION_ID=''
    # shellcheck source=/dev/null
    [[ -r /etc/os-release ]] && . /etc/os-release
    printf '%s-%s-%s' "${ID:-linux}" "${VERSION_ID:-rolling}" "$(uname -m)"
}

# Scratch folders are removed however the run ends; what a kill -9 left is swept by the next run.
SCRATCH=() HELD_FOLDERS=()
scratch() { SCRATCH+=("$1"); mkdir -p -- "$1"; }
sweep_scratch() {
    local path
    for path in "${SCRATCH[@]}"; do rm -rf -- "$path"; done
    for path in "${HELD_FOLDERS[@]}"; do rmdir -- "$path" 2>/dev/null || true; done
    SCRATCH=()
}
keep_scratch() {
    local path kept=()
    for path in "${SCRATCH[@]}"; do [[ $path == "$1" ]] || kept+=("$path"); done
    SCRATCH=("${kept[@]}")
}
trap 'sweep_scratch' EXIT
trap 'exit 129' HUP
trap 'interrupted' INT
trap 'exit 143' TERM

# A version is used only once it is whole, so there is nothing to mend.
interrupted() {
    [[ ${QUIET:-} ]] || { printf '\n' >&2; warn "interrupted; run the same command again, and it goes on from what is whole"; }
    exit 130
}

# Hold the lock of folder $1 until this process ends. A folder needs no lock file to be left behind; whoever
# waited for one that was removed meanwhile takes the new one.
lock_folder() {
    local handle
    while :; do
        mkdir -p -- "$1"
        exec {handle}<"$1"
        if ! flock --nonblock "$handle"; then
            [[ ${2:-} == quiet ]] || say "  waiting for another build-install.sh in $1"
            flock "$handle"
        fi
        [[ $1 -ef /proc/self/fd/$handle ]] && break
        exec {handle}<&-
    done
    HELD=$handle
}
unlock_folder() { exec {HELD}<&-; }

# Put a link in place in one step: a reader sees the old target or the new one.
switch_link() {
    local target=$1 link=$2
    ln -s -- "$target" "$link.new.$$"
    mv -T -- "$link.new.$$" "$link"
}

json_text() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}
