# shellcheck shell=bash
# What this host must have before anything is built: checked first, all at once, each with its remedy.

# Space the packages, their files and a fresh site take, in MB; what the prefix holds already counts.
DISK_NEEDED=3000
MEMORY_NEEDED=1000

PROBLEMS=()
problem() { PROBLEMS+=("$1"); }

check_host() {
    PROBLEMS=()
    check_tools
    check_processor
    check_python
    check_sources
    check_disk
    check_mount
    check_memory
    check_name
    check_ports
    ((${#PROBLEMS[@]} == 0)) && return 0
    warn "this host lacks something; nothing was changed:"
    printf '  - %s\n' "${PROBLEMS[@]}" >&2
    exit 1
}

check_tools() {
    local tool
    for tool in dpkg-deb:dpkg flock:util-linux tar:tar sha256sum:coreutils xargs:findutils setsid:util-linux; do
        command -v "${tool%:*}" >/dev/null || problem "no command ${tool%:*}: $(how_to_get "${tool#*:}")"
    done
}

check_processor() {
    [[ $(uname -m) == x86_64 ]] || { problem "processor $(uname -m): MongoDB is ready-built for x86_64 only"; return; }
    grep -qw avx /proc/cpuinfo || problem "this processor has no AVX, which MongoDB 6 needs (in a virtual machine: CPU type 'host')"
}

check_python() {
    local found
    if find_python; then return; fi
    found=$(python3 -V 2>/dev/null || echo 'no python3')
    if python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
        problem "$found has no venv: $(how_to_get python3-venv)"
    else
        problem "Python $PYTHON_WANTED is needed, found $found: $(offered_python)"
    fi
}

# The newest fitting Python that this host's package sources offer.
offered_python() {
    local name version
    for name in python3 python3.13 python3.12 python3.11; do
        version=$(apt-cache show --no-all-versions "$name" 2>/dev/null | sed -n 's/^Version: //p' | head -n 1)
        [[ $version =~ ^3\.1[123]([^0-9]|$) ]] || continue
        printf '%s (%s)' "$(how_to_get "$name" "$name-venv")" "$version"
        return
    done
    printf 'Debian 12 and 13 have a fitting one: %s' "$(how_to_get python3 python3-venv)"
}

check_sources() {
    [[ ! $FROM_OPTION ]] || return 0
    if ! command -v apt-get >/dev/null; then
        problem "no apt-get: the servers come from Debian's package sources; on another system give a bundle made on this release with --from"
    elif ! apt-get -o Debug::NoLocking=1 --print-uris update 2>/dev/null | grep "^'" >/dev/null; then
        problem "apt has no package sources: name some in /etc/apt/sources.list.d, or give a bundle with --from"
    fi
}

check_disk() {
    local folder free used
    folder=$(standing_folder)
    free=$(df -Pm -- "$folder" | awk 'NR == 2 { print $4 }')
    used=$(du -sm -- "$PREFIX" 2>/dev/null | cut -f1 || true)
    ((free + ${used:-0} >= DISK_NEEDED)) ||
        problem "$free MB are free in $folder, $DISK_NEEDED are needed: free some, or choose another folder with --prefix"
}

# The folder that the prefix is, or will be made in.
standing_folder() {
    local folder=$PREFIX
    while [[ ! -d $folder ]]; do folder=$(dirname -- "$folder"); done
    printf '%s' "$folder"
}

# The servers and commands are run where they are laid.
check_mount() {
    local mount options
    read -r options mount < <(findmnt --noheadings --output OPTIONS,TARGET --target "$(standing_folder)" 2>/dev/null | tail -n 1) || return 0
    [[ ,$options, != *,noexec,* ]] ||
        problem "nothing can be run in $PREFIX: $mount is mounted noexec; choose another folder with --prefix, or: mount -o remount,exec $mount"
}

check_memory() {
    local free
    [[ ! -S $PREFIX/var/run/supervisor.sock ]] || return 0
    free=$(awk '$1 == "MemAvailable:" { print int($2 / 1024) }' /proc/meminfo)
    ((free >= MEMORY_NEEDED)) || problem "$free MB of memory are available, the servers need $MEMORY_NEEDED: stop something"
}

# The broker's node is called …@localhost.
check_name() {
    # getent asks for addresses that a host with loopback alone has none of; the servers do not.
    [[ ${PYTHON:-} ]] || return 0
    "$PYTHON" -c 'import socket, sys; sys.exit(not socket.gethostbyname("localhost").startswith("127."))' 2>/dev/null || problem "the name localhost does not lead to 127.0.0.1: add '127.0.0.1 localhost' to /etc/hosts"
}

# Ports of the local site; a listener out of the prefix itself is the site that runs.
check_ports() {
    local ports port pid command
    [[ ${PYTHON:-} ]] || return 0
    ports=$(seq "$PORT_BASE" $((PORT_BASE + 6)))
    # shellcheck disable=SC2086
    while read -r port pid command; do
        [[ $port && $command != *"$PREFIX/"* ]] || continue
        [[ ${SITE_OWNER_UID:-} && $pid == - && $command == *"user id $SITE_OWNER_UID" ]] && continue
        problem "port $port is taken by ${pid/#-/?} (${command:0:120}): stop it, or move all ports: CANOPSIS_PORT_BASE=$((PORT_BASE + 10000)) ./build-install.sh"
    done <<<"$("$PYTHON" "$HERE/packages/lib/listeners.py" $ports)"
}
