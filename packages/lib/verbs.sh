# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153  # read by the other parts; NAME is of a control file
# The command line of build-install.sh.

usage() {
    cat <<'TEXT'
./build-install.sh [-- ANSIBLE ARGUMENTS]     build this machine's environment, deploy the local site, start it
./build-install.sh remove [--yes] [--keep-data]   take the whole site away
./build-install.sh VERB [PACKAGE…] [OPTIONS]
  fetch     download what the packages are made of into PREFIX/var/cache/packages
  build     fetch, and build opt/NAME/VERSION without using it yet
  install   build and use; a package that is current costs nothing
  update    ask the sources for newer versions; --back takes the last update back
  remove    take exactly what was installed
  list      what is installed; --json
  bundle    one archive of everything fetched, for hosts without a network; --output FILE
Options
  --prefix DIR   where to build (default: $CANOPSIS_PREFIX, else /opt/canopsis as root, ~/canopsis otherwise)
  --from DIR     take the files from a bundle (archive or unpacked folder); nothing touches the network
  --quiet        print errors only
Packages: mongodb erlang rabbitmq-server collectd-libs collectd canopsis, and controller (ansible-core)
TEXT
}

parse() {
    VERB='' NAMES=() PREFIX_OPTION='' FROM_OPTION='' JSON='' BACK='' OUTPUT='' YES='' KEEP_DATA='' EXTRA_ARGS=()
    while (($#)); do
        case $1 in
            --prefix | --from | --output)
                [[ ${2:-} ]] || misuse "$1 needs a value"
                case $1 in
                    --prefix) PREFIX_OPTION=$2 ;;
                    --from) FROM_OPTION=$2 ;;
                    --output) OUTPUT=$2 ;;
                esac
                shift
                ;;
            --prefix=* | --from=* | --output=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
            --json) JSON=yes ;;
            --back) BACK=yes ;;
            --yes) YES=yes ;;
            --keep-data) KEEP_DATA=yes ;;
            --quiet) QUIET=yes ;;
            --help | -h) usage; exit 0 ;;
            --) shift; EXTRA_ARGS=("$@"); break ;;
            -*) misuse "unknown option $1" ;;
            *) if [[ $VERB ]]; then NAMES+=("$1"); else VERB=$1; fi ;;
        esac
        shift
    done
}

# HOME, or what the host knows of a user without it.
home_folder() {
    local home=${HOME:-}
    [[ $home ]] || home=$(getent passwd "$(id -u)" | cut -d: -f6)
    [[ $home == /?* ]] || misuse "HOME is not set: say with --prefix DIR where to build"
    printf '%s' "$home"
}

choose_prefix() {
    PREFIX=${PREFIX_OPTION:-${CANOPSIS_PREFIX:-}}
    if [[ ! $PREFIX ]]; then
        if ((EUID == 0)); then PREFIX=/opt/canopsis; else PREFIX=$(home_folder)/canopsis; fi
        # A clone is called canopsis too.
        [[ $HERE/ != "$PREFIX"/* || $HERE == "$PREFIX/var/lib/source" ]] || PREFIX+=-site
    fi
    [[ $PREFIX == /* ]] || PREFIX=$PWD/$PREFIX
    PREFIX=$(realpath -m -- "$PREFIX")
    [[ $HERE/ != "$PREFIX"/* || $HERE == "$PREFIX/var/lib/source" ]] ||
        misuse "--prefix $PREFIX holds this checkout: choose a folder of its own"
    [[ $PREFIX != / ]] || misuse "--prefix / is not a folder of its own"
    [[ $PREFIX != *[[:space:]]* ]] || misuse "--prefix '$PREFIX': a path with blanks breaks the servers' scripts"
}

open_prefix() {
    if ! mkdir -p -- "$PREFIX" 2>/dev/null || [[ ! -w $PREFIX ]]; then
        die "cannot write to $PREFIX; choose another folder with --prefix, or give this one to $(id -un)"
    fi
    PROBLEMS=()
    check_mount
    ((${#PROBLEMS[@]} == 0)) || die "${PROBLEMS[0]}"
    HOST_KIND=$(host_kind)
    open_work
    if [[ $FROM_OPTION ]]; then open_from "$FROM_OPTION"; fi
}

each_package() {
    local action=$1 name
    shift
    for name in "${ORDER[@]}"; do "$action" "$name" "$@"; done
}

verb_fetch()   { open_prefix; in_order "${NAMES[@]:-${ALL_PACKAGES[@]}}"; each_package fetch_one; }
verb_build()   { open_prefix; in_order "${NAMES[@]:-${PACKAGES[@]}}"; check_packages; each_package build_one; }
verb_install() { open_prefix; in_order "${NAMES[@]:-${PACKAGES[@]}}"; check_packages; each_package install_package; }
fetch_one()    { load_recipe "$1"; fetch_package; }
build_one()    { load_recipe "$1"; hold_package "$1"; fetch_package; build_package; unlock_folder; }

verb_update() {
    open_prefix
    APT_FRESH=wanted
    ((${#NAMES[@]})) || mapfile -t NAMES < <(installed_packages)
    if [[ $BACK ]]; then
        ((${#NAMES[@]})) || misuse "update --back: name the package"
        for name in "${NAMES[@]}"; do known_package "$name"; take_back "$name"; done
        return
    fi
    in_order "${NAMES[@]}"
    check_packages
    each_package update_package
    drop_unused_files
}

installed_packages() {
    local name
    for name in "${ALL_PACKAGES[@]}"; do [[ $(installed_of "$name") ]] && printf '%s\n' "$name"; done
    return 0
}

# Files that no package is made of any more.
drop_unused_files() {
    local path
    for path in "$(cache_folder)"/*.deb "$(cache_folder)"/*.whl; do
        [[ -e $path ]] || continue
        grep -qF " ${path##*/}" "$(cache_folder)"/*.sources || rm -f -- "$path"
    done
}

verb_remove() {
    local name
    if ((${#NAMES[@]} == 0)); then remove_site; return; fi
    [[ -d $PREFIX ]] || die "$PREFIX: no such folder; nothing is installed there"
    if is_of_another; then by_owner remove "${NAMES[@]}"; return; fi
    REMOVING=("${NAMES[@]}")
    for name in "${NAMES[@]}"; do known_package "$name"; remove_package "$name"; done
}

verb_list() {
    local name objects=()
    if [[ ! $JSON ]]; then print_row PACKAGE INSTALLED BEFORE DESCRIPTION; fi
    for name in "${ALL_PACKAGES[@]}"; do
        load_package "$name"
        if [[ $JSON ]]; then
            objects+=("$(list_json)")
        else
            print_row "$name" "$(installed_of "$name")" "$(installed_of "$name" previous)" "$DESCRIPTION"
        fi
    done
    if [[ $JSON ]]; then (IFS=,; printf '[%s]\n' "${objects[*]}"); fi
}

or_dash()   { printf '%s' "${1:--}"; }
print_row() { printf '%-16s %-36s %-36s %s\n' "$1" "$(or_dash "$2")" "$(or_dash "$3")" "$4"; }

list_json() {
    local key
    printf '{"name":%s,"installed":%s' "$(json_text "$NAME")" "$([[ $(installed_of "$NAME") ]] && echo true || echo false)"
    for key in version previous installed held; do
        printf ',"%s":%s' "${key/#installed/since}" "$(json_text "$(installed_of "$NAME" "$key")")"
    done
    printf ',"requires":%s,"description":%s}' "$(json_text "$REQUIRES")" "$(json_text "$DESCRIPTION")"
}

verb_bundle() {
    local list name
    open_prefix
    in_order "${NAMES[@]:-${ALL_PACKAGES[@]}}"
    if is_of_another; then by_owner fetch "${ORDER[@]}"; else each_package fetch_one; fi
    OUTPUT=${OUTPUT:-$PWD/canopsis-bundle-$HOST_KIND.tar}
    list=$(work_folder)/bundle.list
    for name in "${ORDER[@]}"; do basename -- "$(sources_file "$name")"; done >"$list"
    for name in "${ORDER[@]}"; do sed -n 's/^file [^ ]* //p' "$(sources_file "$name")"; done | sort -u >>"$list"
    tar --owner=0 --group=0 -cf "$OUTPUT.part" -C "$(files_folder)" -T "$list" || { rm -f -- "$OUTPUT.part"; die "cannot write $OUTPUT"; }
    mv -- "$OUTPUT.part" "$OUTPUT"
    say "  bundle    $OUTPUT ($(du -h -- "$OUTPUT" | cut -f1)); use it with --from"
}

main() {
    parse "$@"
    choose_prefix
    case $VERB in
        fetch | build | install | update)
            if is_of_another; then by_owner "$VERB" "${NAMES[@]}" ${BACK:+--back}; else "verb_$VERB"; fi
            ;;
        remove | list | bundle) "verb_$VERB" ;;
        '') build_site ;;
        *) misuse "unknown verb $VERB" ;;
    esac
}
