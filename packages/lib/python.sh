# shellcheck shell=bash
# shellcheck disable=SC2153  # NAME is of a control file
# Python: the interpreter of the host, and wheels fetched and laid without network.

PYTHON_WANTED='3.11 to 3.13'

# PYTHON and PYTHON_VERSION: one that can make virtual environments; python3 first, it is the distribution's own.
need_python() {
    [[ ! ${PYTHON:-} ]] || return 0
    find_python || die "no Python $PYTHON_WANTED with venv on this host: $(how_to_get python3-venv)"
}

find_python() {
    local name found
    for name in python3 python3.13 python3.12 python3.11; do
        command -v "$name" >/dev/null || continue
        found=$("$name" -c 'import sys, venv, ensurepip
if (3, 11) <= sys.version_info[:2] <= (3, 13): print("%d.%d" % sys.version_info[:2], sys.executable)' 2>/dev/null) || continue
        [[ $found ]] || continue
        PYTHON_VERSION=${found%% *} PYTHON=${found#* }
        return 0
    done
    return 1
}

# Settings of the user that would bend where pip installs.
clean_pip() {
    env -u PYTHONPATH -u PYTHONHOME -u PIP_TARGET -u PIP_PREFIX -u PIP_ROOT -u PIP_USER -u PIP_REQUIRE_VIRTUALENV \
        -u PIP_CONSTRAINT -u PIP_REQUIREMENT PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 "$@"
}

# pip itself, in a small environment that is made when first needed.
tools_python() {
    local folder
    folder=$(cache_folder)/tools/$PYTHON_VERSION
    if [[ ! -e $folder/ready ]] || ! "$folder/bin/python" -c 'import pip' 2>/dev/null; then
        rm -rf -- "$folder"
        "$PYTHON" -m venv "$folder" >&2 || die "cannot make a virtual environment in $folder"
        : >"$folder/ready"
    fi
    printf '%s/bin/python' "$folder"
}

ready_tools() {
    need_python
    lock_folder "$(cache_folder)/tools" quiet
    TOOLS=$(tools_python)
    unlock_folder
}

# Source "wheel": files of the Python package index, by pip as this host has it set up.
fetch_wheels() {
    local folder wheel
    ready_tools
    folder=$(work_folder)/wheels.$NAME
    rm -rf -- "$folder"
    mkdir -p -- "$folder"
    clean_pip "$TOOLS" -m pip download -q --only-binary :all: --dest "$folder" "$@" >"$folder.log" 2>&1 ||
        die "$(pip_failure "$folder.log")"
    for wheel in "$folder"/*; do
        mv -- "$wheel" "$(cache_folder)/"
        keep_file "$(cache_folder)/${wheel##*/}"
    done
}

# All wheels of a requirements file with hashes; the same file, the same wheels: asked for once.
fetch_requirements() {
    local list wheels
    list=$(cache_folder)/$( { cat -- "$1"; printf '%s\n' "$PYTHON_VERSION"; } | digest_text | cut -c1-16).wheels
    if sources_complete "$list"; then cat -- "$list" >>"$SOURCES"; return; fi
    wheels=$(wc -l <"$SOURCES")
    fetch_wheels --require-hashes -r "$1"
    tail -n +"$((wheels + 1))" "$SOURCES" >"$(work_folder)/wheels.list"
    mv -- "$(work_folder)/wheels.list" "$list"
}

# Addresses stay out of what is shown: they may carry credentials.
pip_failure() {
    printf '%s: pip could not fetch its wheels. %s:\n%s' "$NAME" "$NETWORK_HINT" \
        "$(grep -vi '^WARNING' "$1" | sed -E 's#[a-z+]+://[^ ]+#<index>#g' | tail -n 5)"
}

# One pinned wheel: requirement $1 with SHA-256 $2.
fetch_wheel() {
    local pin kept
    for kept in "$(cache_folder)"/*.whl; do
        if [[ -r $kept && $(digest "$kept") == "$2" ]]; then keep_file "$kept"; return; fi
    done
    pin=$(work_folder)/pin.$NAME
    printf '%s --hash=sha256:%s\n' "$1" "$2" >"$pin"
    fetch_wheels --no-deps --require-hashes -r "$pin"
}

# pip that never asks the network, whatever the user's settings say.
offline_pip() {
    clean_pip env -u PIP_FIND_LINKS -u PIP_INDEX_URL -u PIP_EXTRA_INDEX_URL PIP_CONFIG_FILE=/dev/null PIP_NO_INDEX=1 "$@"
}

# A virtual environment $1 with the wheels $2...; pip itself stays outside.
build_venv() {
    local folder=$1
    shift
    ready_tools
    "$PYTHON" -m venv --without-pip "$folder"
    offline_pip "$TOOLS" -m pip --python "$folder/bin/python" install -q --no-deps --no-compile "$@" ||
        die "$NAME: cannot lay its wheels in $folder"
    # Compiled now, by all processors: the files belong to the package and the first start is quick.
    "$folder/bin/python" -m compileall -q -j 0 "$folder/lib" >/dev/null || true
}

# Unpack one wheel into $2.
unpack_wheel() { need_python; "$PYTHON" -m zipfile -e "$1" "$2" || die "$NAME: cannot unpack ${1##*/}"; }
