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
        command -v "${tool%:*}" >/dev/null || problem "no command ${tool%:*}: apt-get install ${tool#*:}"
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
        problem "$found has no venv: apt-get install python3-venv"
    else
        problem "Python $PYTHON_WANTED is needed, found $found: apt-get install python3.11 python3.11-venv (Debian 12 and 13 have a fitting python3)"
    fi
}

check_sources() {
    [[ ! $FROM_OPTION ]] || return 0
    if ! command -v apt-get >/dev/null; then
        problem "no apt-get: the servers come from Debian's package sources; on another system give a bundle made on this release with --from"
    elif ! apt-get -o Debug::NoLocking=1 --print-uris update 2>/dev/null | grep -q "^'"; then
        problem "apt has no package sources: name some in /etc/apt/sources.list.d, or give a bundle with --from"
    fi
}

check_disk() {
    local folder=$PREFIX free used
    while [[ ! -d $folder ]]; do folder=$(dirname -- "$folder"); done
    free=$(df -Pm -- "$folder" | awk 'NR == 2 { print $4 }')
    used=$(du -sm -- "$PREFIX" 2>/dev/null | cut -f1 || true)
    ((free + ${used:-0} >= DISK_NEEDED)) ||
        problem "$free MB are free in $folder, $DISK_NEEDED are needed: free some, or choose another folder with --prefix"
}

check_memory() {
    local free
    [[ ! -S $PREFIX/var/run/supervisor.sock ]] || return 0
    free=$(awk '$1 == "MemAvailable:" { print int($2 / 1024) }' /proc/meminfo)
    ((free >= MEMORY_NEEDED)) || problem "$free MB of memory are available, the servers need $MEMORY_NEEDED: stop something"
}

# The broker's node is called …@localhost.
check_name() {
    getent ahostsv4 localhost | grep -q '^127\.' || problem "the name localhost does not lead to 127.0.0.1: add '127.0.0.1 localhost' to /etc/hosts"
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
