# shellcheck shell=bash
# Source "distribution": packages of the host's own apt sources, downloaded and unpacked, never installed.
# Lists and cache are private, so any user can do it; the status file is empty, so what is fetched depends on
# the release alone and a bundle fits every host of that release.

apt_folder() { printf '%s/apt' "$(cache_folder)"; }

# What every supported host has: its libraries need not be brought along.
HOST_BASE=(dpkg apt bash coreutils ca-certificates python3-venv)

apt_do() {
    local command=$1 folder
    shift
    folder=$(apt_folder)
    "$command" -q -o Dir::State::Lists="$folder/lists" -o Dir::Cache="$folder/cache" -o Dir::State::status="$folder/status" \
        -o Dir::Cache::pkgcache=pkgcache.bin -o Dir::Cache::srcpkgcache=srcpkgcache.bin \
        -o Debug::NoLocking=1 -o APT::Sandbox::User= -o APT::Update::Post-Invoke= "$@"
}

# Bring the package lists, at most once a run (and once an hour for parallel runs that share the cache).
apt_lists() {
    local folder
    folder=$(apt_folder)
    mkdir -p -- "$folder/lists/partial" "$folder/cache/archives/partial"
    : >>"$folder/status"
    if [[ -r $folder/base && -z $(find "$folder/base" -mmin +60) && ${APT_FRESH:-} != wanted ]]; then return 0; fi
    apt_do apt-get update >"$folder/log" 2>&1 || die "$(apt_failure "$folder/log")"
    # apt ends well when it reached nothing at all.
    if grep -q '^Err:' "$folder/log" && ! apt_knows "${HOST_BASE[@]}"; then die "$(apt_failure "$folder/log")"; fi
    apt_closure "${HOST_BASE[@]}" >"$folder/base.new"
    mv -- "$folder/base.new" "$folder/base"
    APT_FRESH=had
}

# Addresses stay out of what is shown: they may carry credentials.
apt_failure() {
    printf 'apt cannot read this host'\''s package sources (/etc/apt/sources.list.d). %s:\n%s' "$NETWORK_HINT" \
        "$(grep -E '^(E|W|Err|  )' "$1" | sed -E 's#[a-z+]+://[^ ]+#<source>#g' | tail -n 5)"
}

apt_knows() { apt_do apt-get -s --no-install-recommends install "$@" >/dev/null 2>&1; }

# Names of everything that $@ need, with nothing taken for installed.
apt_closure() {
    local plan
    plan=$(apt_do apt-get -s --no-install-recommends install "$@" 2>&1) ||
        die "${NAME:-apt}: this host's apt sources do not offer: $* $(printf '%s' "$plan" | grep '^E:' | head -n 2)"
    printf '%s\n' "$plan" | sed -n 's/^Inst \([^ ]*\).*/\1/p' | sort -u
}

# Download, of the packages named and everything they need, what matches the patterns after "--" (without any:
# the packages named).
fetch_distribution() {
    local folder wanted=() keep=() names
    while (($#)) && [[ $1 != -- ]]; do wanted+=("$1"); shift; done
    keep=("${@:2}")
    lock_folder "$(apt_folder)" quiet
    apt_lists
    names=$(apt_select "${wanted[*]}" "${keep[*]:-${wanted[*]}}")
    folder=$(work_folder)/debs.$NAME
    mkdir -p -- "$folder"
    # What is kept already is not sent again: apt checks it against its lists.
    find "$(cache_folder)" -maxdepth 1 -name '*.deb' -exec cp -t "$folder" {} +
    # shellcheck disable=SC2086
    (cd -- "$folder" && apt_do apt-get download $names) >"$(apt_folder)/log" 2>&1 || die "$(apt_failure "$(apt_folder)/log")"
    # shellcheck disable=SC2086
    take_debs "$folder" $names
    unlock_folder
}

# Of the closure of $1 the names that match a pattern of $2 and that no host is sure to have.
apt_select() {
    local closure name patterns
    # shellcheck disable=SC2086
    closure=$(apt_closure $1)
    read -ra patterns <<<"$2"
    comm -23 <(printf '%s\n' "$closure") "$(apt_folder)/base" | while read -r name; do
        if matches_one "$name" "${patterns[@]}"; then printf '%s\n' "$name"; fi
    done
}

matches_one() {
    local name=$1 pattern
    shift
    for pattern in "$@"; do
        # shellcheck disable=SC2053
        [[ $name == $pattern && $name != *-perl ]] && return 0
    done
    return 1
}

take_debs() {
    local folder=$1 name deb target
    shift
    for name in "$@"; do
        deb=$(find "$folder" -name "${name}_*.deb" -printf '%C@ %p\n' | sort -rn | sed -n '1s/^[^ ]* //p')
        dpkg-deb --info "$deb" >/dev/null 2>&1 || die "$NAME: ${deb##*/} arrived broken; run the command again"
        target=$(cache_folder)/${deb##*/}
        mv -- "$deb" "$target"
        keep_file "$target"
    done
}

# The version of the fetched Debian package that matches $1, without epoch: it names a folder.
deb_version() {
    local file
    while read -r _ _ file; do
        # shellcheck disable=SC2053
        [[ ${file%%_*} == $1 ]] || continue
        file=${file#*_}
        file=${file%_*}
        printf '%s' "${file#*%3a}"
        return
    done <"$SOURCES"
    die "$NAME: apt offers no $1"
}

# Unpack every fetched Debian package into $1.
unpack_debs() {
    local deb
    match_files '*.deb'
    mkdir -p -- "$1"
    for deb in "${GIVEN[@]}"; do
        dpkg-deb -x "$deb" "$1" || die "$NAME: cannot unpack ${deb##*/}"
    done
}

# Shared libraries of an unpacked tree $1, laid flat in $2.
lay_libraries() {
    local folder
    mkdir -p -- "$2"
    for folder in "$1"/usr/lib/*-linux-gnu* "$1"/lib/*-linux-gnu*; do
        [[ -d $folder ]] || continue
        find "$folder" -maxdepth 1 -name '*.so*' -exec mv -t "$2" {} +
    done
}
