# shellcheck shell=bash
# shellcheck disable=SC2034  # read by the other parts
# The files packages are made of: fetched once, kept in var/cache/packages with their SHA-256, or given by --from.
#
# <name>.<host kind>.sources says what a package is made of:
#   version 5.12.0-14
#   recipe <sha256 of everything that decides what to fetch and how to build>
#   file <sha256> <name>

declare -A GIVEN_FILES=()

cache_folder() { printf '%s/var/cache/packages' "$PREFIX"; }

# Scratch space of this run beside the kept files; that of killed runs is swept.
work_folder() { printf '%s/work.%s' "$(cache_folder)" "$$"; }
open_work() {
    local folder
    for folder in "$(cache_folder)"/work.*; do
        if [[ -d $folder && ! -d /proc/${folder##*.} ]]; then rm -rf -- "$folder"; fi
    done
    scratch "$(work_folder)"
}

# Where the files of this run are: the folder of --from, else the cache.
files_folder() { printf '%s' "${FROM_FOLDER:-$(cache_folder)}"; }

sources_file() { printf '%s/%s.%s.sources' "$(files_folder)" "$1" "$HOST_KIND"; }

# What the line "$2 ..." of a record file says.
recorded() {
    local key rest
    [[ -r $1 ]] || return 0
    while read -r key rest; do
        [[ $key == "$2" ]] && { printf '%s' "$rest"; return 0; }
    done <"$1"
    return 0
}

# Open --from: an archive made by `bundle`, or its unpacked folder.
open_from() {
    local from=$1
    [[ -e $from ]] || die "--from $from: no such file or folder; make one with ./build-install.sh bundle"
    if [[ -d $from ]]; then
        FROM_FOLDER=$(cd -- "$from" && pwd)
    else
        FROM_FOLDER=$(work_folder)/from
        mkdir -p -- "$FROM_FOLDER"
        tar --no-same-owner -xf "$from" -C "$FROM_FOLDER" || die "--from $from: not a whole archive of ./build-install.sh bundle"
    fi
    compgen -G "$FROM_FOLDER/*.sources" >/dev/null ||
        die "--from $from holds no packages; make it with ./build-install.sh bundle"
    compgen -G "$FROM_FOLDER/*.$HOST_KIND.sources" >/dev/null ||
        die "--from $from is for $(kinds_in "$FROM_FOLDER"), this host is $HOST_KIND; run bundle on such a host"
}

kinds_in() {
    local path
    for path in "$1"/*.sources; do basename -- "$path" .sources; done | cut -d. -f2- | sort -u | paste -sd' '
}

# Called by a control file's fetch: FILE, already in the cache folder, belongs to the package.
keep_file() {
    local path
    for path in "$@"; do
        printf 'file %s %s\n' "$(digest "$path")" "${path##*/}" >>"$SOURCES"
    done
}

# True when the cache holds every file of the package, whole.
sources_complete() {
    local sources=$1 key sum file
    [[ -r $sources ]] || return 1
    while read -r key sum file; do
        [[ $key == file ]] || continue
        [[ -r $(files_folder)/$file && $(digest "$(files_folder)/$file") == "$sum" ]] || return 1
    done <"$sources"
}

# Fetch what the loaded package needs, unless it is there. With "fresh" ask the sources again.
fetch_package() {
    local started sources
    started=$(clock)
    sources=$(sources_file "$NAME")
    if [[ ${FROM_FOLDER:-} ]]; then
        [[ -r $sources ]] || die "$NAME is not in ${FROM_OPTION}; make a bundle with it: ./build-install.sh bundle $NAME"
        return 0
    fi
    if [[ ${1:-} != fresh && $(recorded "$sources" recipe) == "$RECIPE" ]] && sources_complete "$sources"; then
        return 0
    fi
    SOURCES=$(work_folder)/$NAME.sources
    : >"$SOURCES"
    fetch
    { printf 'version %s\nrecipe %s\n' "$VERSION" "$RECIPE"; sort -k3 "$SOURCES"; } >"$SOURCES.new"
    mv -- "$SOURCES.new" "$sources"
    say "  fetched   $NAME $VERSION ($(elapsed "$started"))"
}

# Read the sources of the package: GIVEN_FILES[name]=sha256, VERSION, INPUTS (one digest of all files).
read_sources() {
    local sources key sum file
    sources=$(sources_file "$NAME")
    GIVEN_FILES=()
    VERSION=$(recorded "$sources" version)
    while read -r key sum file; do
        if [[ $key == file ]]; then GIVEN_FILES[$file]=$sum; fi
    done <"$sources"
    INPUTS=$(inputs_of "$sources")
}

inputs_of() { sed -n '/^file /p' "$1" | sort | digest_text; }

# The path of one fetched file, checked against its SHA-256.
given_file() {
    local path=$1 place again
    place=${FROM_OPTION:-$(files_folder)}
    again="Delete it and fetch it again: ./build-install.sh fetch $NAME"
    if [[ ${FROM_FOLDER:-} ]]; then again="Copy the bundle again, or make it again: ./build-install.sh bundle"; fi
    [[ -r $(files_folder)/$path ]] || die "$NAME: $path is missing in $place. $again"
    [[ $(digest "$(files_folder)/$path") == "${GIVEN_FILES[$path]}" ]] ||
        die "$NAME: $path in $place is damaged: its SHA-256 is not the recorded one. $again"
    printf '%s/%s' "$(files_folder)" "$path"
}

# All files of the loaded package, each checked.
check_given() {
    local file
    read_sources
    for file in "${!GIVEN_FILES[@]}"; do given_file "$file" >/dev/null; done
}

# GIVEN: the paths of every fetched file whose name matches one of the patterns, each checked.
match_files() {
    local file pattern path
    GIVEN=()
    for file in "${!GIVEN_FILES[@]}"; do
        for pattern in "$@"; do
            # shellcheck disable=SC2053
            [[ $file == $pattern ]] || continue
            path=$(given_file "$file")
            GIVEN+=("$path")
            break
        done
    done
    ((${#GIVEN[@]})) || die "$NAME: none of its files matches $*"
}

# Source "archive": a path or URL whose SHA-256 the control file knows.
fetch_archive() {
    local from=$1 sum=$2 target part
    target=$(cache_folder)/${from##*/}
    if [[ ! -r $target || $(digest "$target") != "$sum" ]]; then
        part=$(work_folder)/${from##*/}
        case $from in
            http://* | https://*) download "$from" "$part" ;;
            *) cp -- "$from" "$part" ;;
        esac
        [[ $(digest "$part") == "$sum" ]] || die "$NAME: $from is not the file with SHA-256 $sum"
        mv -- "$part" "$target"
    fi
    keep_file "$target"
}

# Source "system": a program the host has already, found by name, linked as $2 of the package.
link_system() {
    local found
    found=$(type -P "$1") || die "$NAME: this host has no $1: install it, or choose another source in packages/$NAME/control"
    mkdir -p -- "$(dirname -- "$STAGE/$2")"
    ln -s -- "$found" "$STAGE/$2"
}

# Python reads https on every host that can build; curl and wget are not on each.
download() {
    local why
    need_python
    why=$("$PYTHON" -c 'import shutil, sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=60) as reply, open(sys.argv[2], "wb") as target:
    shutil.copyfileobj(reply, target)' "$1" "$2" 2>&1) ||
        die "$NAME: cannot download its archive (${why##*$'\n'}). $NETWORK_HINT"
}
