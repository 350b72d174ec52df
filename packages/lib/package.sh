# shellcheck shell=bash
# shellcheck disable=SC2317  # what a control file may leave out is defined here
# One package: its control file, and how it comes, changes and goes.
#
# opt/<name>/<version>   what was built, whole when it holds .package
# opt/<name>/current     the version in use; switching this link is what installs
# var/lib/packages/<name>.{info,files}   what is installed, and every path it takes

PACKAGES=(mongodb erlang rabbitmq-server collectd-libs collectd canopsis)
ALL_PACKAGES=("${PACKAGES[@]}" controller)
FORMAT=1

records()      { printf '%s/var/lib/packages' "$PREFIX"; }
info_file()    { printf '%s/%s.info' "$(records)" "$1"; }
files_file()   { printf '%s/%s.files' "$(records)" "$1"; }
installed_of() { recorded "$(info_file "$1")" "${2:-version}"; }

known_package() {
    [[ $1 != lib && -r $HERE/packages/$1/control ]] || misuse "no package $1; there are: ${ALL_PACKAGES[*]}"
}

# Read a control file. Its functions replace those of the package before.
load_package() {
    NAME='' VERSION='' REQUIRES='' DESCRIPTION='' IN_PLACE=''
    recipe_inputs() { :; }
    # shellcheck disable=SC2329  # a control file may leave it as it is
    fetch()   { :; }
    build()   { die "$NAME: its control file has no build"; }
    install() { :; }
    update()  { install; }
    remove()  { :; }
    # shellcheck source=/dev/null
    . "$HERE/packages/$1/control"
    [[ $NAME == "$1" ]] || die "packages/$1/control: NAME is '$NAME', not '$1'"
}

# RECIPE: everything that decides what the package becomes, but the fetched files.
load_recipe() {
    load_package "$1"
    if [[ $IN_PLACE ]]; then need_python; fi
    RECIPE=$({ printf '%s\n' "$FORMAT"; cat -- "$HERE/packages/$1/control"; recipe_inputs; } | digest_text)
}

# The packages named and what they require, requirements first.
with_requirements() {
    local name
    for name in "$@"; do
        known_package "$name"
        [[ " ${ORDER[*]} " == *" $name "* ]] && continue
        load_package "$name"
        # shellcheck disable=SC2086
        with_requirements $REQUIRES
        ORDER+=("$name")
    done
}
in_order() { ORDER=(); with_requirements "$@"; }

version_folder() { printf '%s/opt/%s/%s' "$PREFIX" "$NAME" "$1"; }

# True when every file of version $1 is there.
intact() {
    local root
    root=$(version_folder "$1")
    [[ -e $root/.package ]] && all_there "$root" <"$root/.files"
}

# True when every path on standard input is there, below $1.
all_there() { (cd -- "$1" && xargs -r -d '\n' stat -c '' -- >/dev/null 2>&1); }

# The package's paths outside opt/: its links in bin/.
outside_opt() { sed '/^opt\//d' -- "$(files_file "$NAME")"; }


# True when nothing has to be done: decided from records alone.
is_current() {
    local info version
    info=$(info_file "$NAME")
    version=$(recorded "$info" version)
    [[ $version && $(readlink "$PREFIX/opt/$NAME/current" || true) == "$version" ]] || return 1
    [[ -r $(files_file "$NAME") ]] && intact "$version" && outside_opt | all_there "$PREFIX" || return 1
    [[ $(recorded "$info" held) != yes ]] || return 0
    [[ $(recorded "$info" recipe) == "$RECIPE" ]] || return 1
    [[ ! ${FROM_FOLDER:-} || ! -r $(sources_file "$NAME") || $(inputs_of "$(sources_file "$NAME")") == "$(recorded "$info" inputs)" ]]
}

# Build the loaded package from its fetched files into opt/<name>/<version>, unless it stands there whole.
build_package() {
    local started root
    started=$(clock)
    read_sources
    RELEASE=$VERSION-$(printf '%s %s' "$RECIPE" "$INPUTS" | digest_text | cut -c1-8)
    root=$(version_folder "$RELEASE")
    if [[ -e $root/.package ]] && intact "$RELEASE"; then return 0; fi
    WORK=$PREFIX/opt/$NAME/.work.$$
    STAGE=$PREFIX/opt/$NAME/.staging.$$
    # A virtual environment knows its own path: built where it stays, whole once it is marked.
    if [[ $IN_PLACE ]]; then STAGE=$root; rm -rf -- "$root"; fi
    scratch "$WORK"
    scratch "$STAGE"
    build
    (cd -- "$STAGE" && find . -mindepth 1) >"$WORK/files"
    mv -- "$WORK/files" "$STAGE/.files"
    describe >"$STAGE/.package"
    if [[ $IN_PLACE ]]; then keep_scratch "$STAGE"; else place_stage "$root"; fi
    rm -rf -- "$WORK"
    say "  built     $NAME $RELEASE ($(elapsed "$started"), $(du -sh -- "$root" | cut -f1))"
}

place_stage() {
    if [[ -e $1 ]]; then mv -T -- "$1" "$WORK/broken"; fi
    mv -T -- "$STAGE" "$1"
}

describe() {
    printf 'name %s\nversion %s\nrecipe %s\ninputs %s\nrequires %s\ndescription %s\n' \
        "$NAME" "$RELEASE" "$RECIPE" "$INPUTS" "$REQUIRES" "$DESCRIPTION"
}

# Make version $1 the one in use; $2 is "held" when an operator took an update back.
activate() {
    local release=$1 held=${2:-no} before
    before=$(installed_of "$NAME")
    if [[ $before == "$release" ]]; then before=$(installed_of "$NAME" previous); fi
    [[ $before && -e $(version_folder "$before")/.package ]] || before=''
    EXTRAS=()
    switch_link "$release" "$PREFIX/opt/$NAME/current"
    if [[ $before ]]; then update; else install; fi
    drop_other_versions "$release" "$before"
    record_files
    record_info "$release" "$before" "$held"
}

# A script $STAGE/$1 that runs $2 of its own version with the libraries laid beside it (and those of package $3).
lay_wrapper() {
    local script=$STAGE/$1
    mkdir -p -- "${script%/*}"
    cat >"$script" <<TEXT
#!/bin/sh
root=\$(dirname "\$(dirname "\$(readlink -f "\$0")")")
LD_LIBRARY_PATH=\$root/lib${3:+:\$root/../../$3/current/lib}\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec "\$root/$2" "\$@"
TEXT
    chmod 755 "$script"
}

# A command of the package in the prefix's own bin/.
link_command() {
    mkdir -p -- "$PREFIX/bin"
    switch_link "../opt/$NAME/current/$2" "$PREFIX/bin/$1"
    EXTRAS+=("bin/$1")
}

drop_other_versions() {
    local folder
    for folder in "$PREFIX/opt/$NAME"/*/; do
        folder=$(basename -- "$folder")
        case $folder in "$1" | "${2:-$1}" | current) ;; *) rm -rf -- "$(version_folder "$folder")" ;; esac
    done
}

record_files() {
    local list
    list=$(files_file "$NAME")
    {
        (cd -- "$PREFIX" && find "opt/$NAME" -mindepth 1 \( -name '.work.*' -o -name '.staging.*' \) -prune \
            -o -type d -printf '%p/\n' -o -printf '%p\n')
        printf '%s\n' "${EXTRAS[@]}" | sed '/^$/d'
    } >"$list.new"
    mv -- "$list.new" "$list"
}

record_info() {
    local info
    info=$(info_file "$NAME")
    {
        cat -- "$(version_folder "$1")/.package"
        printf 'previous %s\nheld %s\ninstalled %s\n' "$2" "$3" "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
    } >"$info.new"
    mv -- "$info.new" "$info"
}

# With --from every package that is to be laid is looked at before the first is: a damaged bundle changes nothing.
check_packages() {
    if [[ ${FROM_FOLDER:-} ]]; then each_package check_package; fi
}

check_package() {
    load_recipe "$1"
    if is_current; then return 0; fi
    fetch_package
    check_given
}

install_package() {
    load_recipe "$1"
    hold_package "$1"
    if is_current; then
        say "  current   $NAME $(installed_of "$NAME")"
    else
        fetch_package
        build_package
        activate "$RELEASE"
        say "  installed $NAME $RELEASE"
    fi
    unlock_folder
}

update_package() {
    load_recipe "$1"
    hold_package "$1"
    fetch_package fresh
    build_package
    if [[ $(installed_of "$NAME") == "$RELEASE" && $(installed_of "$NAME" held) != yes ]] && is_current; then
        say "  current   $NAME $RELEASE"
    else
        activate "$RELEASE"
        say "  installed $NAME $RELEASE (before: $(or_dash "$(installed_of "$NAME" previous)"))"
    fi
    unlock_folder
}

# Go back to the version before the last update, and stay there until the next `update`.
take_back() {
    local back
    load_package "$1"
    [[ $(installed_of "$NAME") ]] || die "$NAME is not installed"
    hold_package "$1"
    back=$(installed_of "$NAME" previous)
    [[ $back ]] || die "$NAME: there is no version before $(installed_of "$NAME"); nothing to take back"
    activate "$back" yes
    say "  installed $NAME $back (held; ./build-install.sh update $NAME goes forward again)"
}

remove_package() {
    local list path other
    load_package "$1"
    list=$(files_file "$NAME")
    if [[ ! -r $list && ! -d $PREFIX/opt/$NAME ]]; then say "  absent    $NAME"; return 0; fi
    hold_package "$1"
    for other in "${ALL_PACKAGES[@]}"; do
        [[ " ${REMOVING[*]} " != *" $other "* && " $(installed_of "$other" requires) " == *" $NAME "* ]] &&
            die "$other needs $NAME: remove both, or $other first"
    done
    remove
    if [[ -r $list ]]; then
        while read -r path; do
            case $path in */) ;; *) printf '%s\0' "$PREFIX/$path" ;; esac
        done <"$list" | xargs -0 -r rm -f --
    fi
    rm -rf -- "$PREFIX/opt/$NAME"
    rm -f -- "$list" "$(info_file "$NAME")"
    unlock_folder
    drop_empty_folders
    say "  removed   $NAME"
}

drop_empty_folders() {
    local folder
    for folder in bin opt var/lib/packages var/lib var; do
        rmdir --ignore-fail-on-non-empty -- "$PREFIX/$folder" 2>/dev/null || true
    done
}

# Hold package $1 against other runs, and clear what a killed one left: half-built versions, scratch folders.
hold_package() {
    local folder home=$PREFIX/opt/$1
    mkdir -p -- "$(records)"
    lock_folder "$home"
    HELD_FOLDERS+=("$home")
    for folder in "$home"/*/ "$home"/.work.*/ "$home"/.staging.*/; do
        if [[ -d $folder && ! -L ${folder%/} && ! -e $folder/.package ]]; then rm -rf -- "$folder"; fi
    done
    rm -f -- "$home"/current.new.* "$(records)/$1".*.new
}
