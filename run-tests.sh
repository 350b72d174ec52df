#!/usr/bin/env bash
# All tests of Canopsis, or the stages and tests that are named. `./run-tests.sh --help` tells.
# shellcheck disable=SC2329  # stages are called by name
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly STAGES=(lint types layers unit servers site molecule)
readonly SHORT=(default preflight cluster3)
readonly TESTS=(unit servers site)
readonly SERVERS=(mongodb erlang rabbitmq-server alertmanager prometheus)
readonly PLUGIN=/usr/lib/nagios/plugins/check_load
readonly SITE_USER=canopsis-test
readonly VENV=$PWD/.venv
readonly LOGS=$PWD/log/tests
CACHE=${CANOPSIS_TEST_CACHE:-${HOME:-/tmp}/.cache/canopsis-tests}

declare -A seconds=() results=()
stages=() paths=() options=() lacking=() reasons=() lane=""

usage() {
    cat <<'TEXT'
./run-tests.sh                                   everything
./run-tests.sh STAGE… [PYTEST OPTIONS]           these stages, e.g. `servers -k fence`
./run-tests.sh tests/…/test_x.py[::test] [PYTEST OPTIONS]

Stages
  lint      ruff, shellcheck, yamllint, ansible-lint, the tasks of each playbook with each inventory
  types     mypy --strict over the code and its tests
  layers    an import only goes down (import-linter)
  unit      tests/unit, no sockets; every branch of canopsis/core is covered
  servers   tests/servers over a real RabbitMQ and MongoDB
  site      tests/site over a whole local site, laid by build-install.sh in a scratch prefix
  molecule  scenarios of molecule/ over fresh container hosts: all when the stage is named, these with `-s NAME`…,
            default, preflight and cluster3 in a run of everything; as root, or with a podman or docker that works

Each stage ends with its slowest tests. log/tests/ keeps what it said, and last.json what came of the last whole run of
each stage over one commit: {"commit", "dirty", "stages": {NAME: {"result": "ok" or "failed", "seconds"}}}.

Needs Debian's git and python3-venv, for site also monitoring-plugins-basic; as root they are installed.

Variables
  CANOPSIS_TEST_CACHE    where the servers are kept between runs (~/.cache/canopsis-tests)
  CANOPSIS_TEST_PREFIX   a prefix that already holds the servers
  CANOPSIS_TEST_ENGINE   podman or docker, for the container hosts; CANOPSIS_TEST_IMAGE an image of your own for them
  CANOPSIS_TEST_OUTAGE   how many seconds the outages of the site tests last (10)
  CANOPSIS_TEST_HOSTILE  how many hostile messages, and as many requests, tests/servers/fuzz sends (3000)
  CANOPSIS_TEST_SEED     which ones: the same seed brings the same bytes (2015)
TEXT
}

say() { printf '%s\n' "$*"; }

# Ends the stage: what is missing, and what to do.
cannot() {
    say "CANNOT RUN: $*" >&2
    exit 1
}

is_stage() { [[ " ${STAGES[*]} " == *" $1 "* ]]; }

parse() {
    local argument
    for argument in "$@"; do
        if [[ $argument == -h || $argument == --help ]]; then
            usage
            exit 0
        elif ((${#options[@]} == 0)) && is_stage "$argument"; then
            stages+=("$argument")
        elif ((${#options[@]} == 0)) && [[ $argument == tests/* || -e $argument ]]; then
            [[ -e ${argument%%::*} ]] || refuse "no such test: ${argument%%::*}"
            paths+=("$argument")
        elif ((${#options[@]} > 0)) || [[ $argument == -* ]]; then
            options+=("$argument")
        else
            refuse "no such stage or test: $argument (stages: ${STAGES[*]})"
        fi
    done
    choose_stages
}

choose_stages() {
    local stage path
    ((${#paths[@]} == 0 || ${#stages[@]} == 0)) || refuse "name stages or tests, not both"
    for path in "${paths[@]}"; do
        stage=${path#./}
        stage=${stage#tests/}
        stage=${stage%%/*}
        [[ " ${TESTS[*]} " == *" $stage "* ]] || refuse "$path is in none of ${TESTS[*]/#/tests/}"
        [[ " ${stages[*]} " == *" $stage "* ]] || stages+=("$stage")
    done
    if ((${#stages[@]} == 0)); then
        ((${#options[@]} == 0)) || refuse "name the stage that ${options[0]} is for"
        stages=("${STAGES[@]}")
    fi
}

refuse() {
    say "run-tests.sh: $*" >&2
    usage >&2
    exit 2
}

# --- what a run needs ---------------------------------------------------------------------------

# Installs a package; what an ordinary user lacks is kept for refuse_lacking, who tells all of it at once.
need_debian() {
    local package=$1 reason=$2
    if ((EUID != 0)); then
        lacking+=("$package") reasons+=("$reason")
        return 0
    fi
    command -v apt-get >/dev/null || cannot "$reason, and this host has no apt-get to install $package with"
    say "installing $package ($reason)"
    apt-get -qq update >>"$LOGS/apt.log" 2>&1 || cannot "apt-get update failed, see $LOGS/apt.log"
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$package" >>"$LOGS/apt.log" 2>&1 ||
        cannot "apt-get install $package failed, see $LOGS/apt.log"
}

refuse_lacking() {
    ((${#lacking[@]} > 0)) || return 0
    local reason
    reason=$(printf '; %s' "${reasons[@]}")
    cannot "${reason:2}. Install it with: sudo apt-get update && sudo apt-get install --no-install-recommends ${lacking[*]}"
}

# git lists the files of the checkout. One that came as an archive gets a repository beside it that knows no commit.
bring_git() {
    command -v git >/dev/null || need_debian git "git lists the files of the checkout"
    export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=$PWD
    [[ ! -e .git ]] && command -v git >/dev/null || return 0
    export GIT_DIR=$LOGS/git GIT_WORK_TREE=$PWD
    git init --quiet
}

# What the stages need of this host is asked before the first one spends minutes.
bring_tools() {
    local stage
    bring_git
    bring_python
    for stage in "${stages[@]}"; do
        case $stage in
            site) bring_plugins ;;
            molecule) if [[ ! $(containers_lack) ]]; then bring_containers; else is_everything || cannot "$(containers_lack)"; fi ;;
        esac
    done
    refuse_lacking
}

bring_python() {
    command -v python3 >/dev/null || need_debian python3-venv "there is no python3"
    command -v python3 >/dev/null || return 0
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        cannot "Python 3.11 or newer is needed, $(python3 --version) was found"
    python3 -c 'import ensurepip, venv' 2>/dev/null || need_debian python3-venv "python3 cannot make virtual environments"
}

# The environment is made anew when its pins or the Python have changed, and is whole or not there.
bring_venv() {
    local wanted
    wanted=$(cat requirements/dev.txt <(python3 --version) | sha256sum)
    if [[ ! -f $VENV/complete || $(<"$VENV/complete") != "$wanted" ]]; then
        say "making the tests' Python environment in $VENV"
        rm -rf "$VENV"
        python3 -m venv "$VENV"
        "$VENV/bin/pip" --quiet --disable-pip-version-check install --requirement requirements/dev.txt
        printf '%s\n' "$wanted" >"$VENV/complete"
    fi
    export PATH=$VENV/bin:$PATH VIRTUAL_ENV=$VENV
}

bring_servers() {
    if [[ -z ${CANOPSIS_TEST_PREFIX:-} ]]; then
        export CANOPSIS_TEST_PREFIX=$CACHE/servers
        mkdir -p "$CANOPSIS_TEST_PREFIX"
        ./build-install.sh install --prefix "$CANOPSIS_TEST_PREFIX" "${SERVERS[@]}"
    fi
}

bring_plugins() {
    [[ -x $PLUGIN ]] || need_debian monitoring-plugins-basic "the site tests run a real check, $PLUGIN"
}

# --- stages -------------------------------------------------------------------------------------

shell_files() {
    git ls-files --cached --others --exclude-standard -- '*.sh' 'packages/*/control' '.ci/run'
    git grep --untracked --files-with-matches -I -E '^#!.*\b(ba)?sh\b' -- ':!*.sh' ':!*.j2' ':!*.md' ':!packages/*/control' ':!.ci/run' || true
}

# Runs a tool; its failure fails the stage at the end, so that one run shows what every tool says.
attempt() {
    local began=${EPOCHREALTIME/[.,]/}
    say "- $1: ${*: -1}"
    "$@" || failures+=("$1: ${*: -1}")
    took+=("$((${EPOCHREALTIME/[.,]/} - began)) $*")
}

# As the tests' own table (tests/conftest.py), for stages of tools.
slowest() {
    say "= slowest, in seconds"
    local micro what
    # Not a pipe: sort, which still writes when head has its lines, would fail the stage.
    while read -r micro what; do
        printf '%5d.%02d  %.100s\n' $((micro / 1000000)) $((micro / 10000 % 100)) "$what"
    done < <(printf '%s\n' "${took[@]}" | sort -rn | head)
}

no_failures() { ((${#failures[@]} == 0)) || cannot_pass "${failures[@]}"; }

cannot_pass() {
    say "failed:" "${@/%/;}"
    return 1
}

stage_lint() {
    local files failures=() took=()
    attempt ruff check .
    attempt ruff format --check .
    mapfile -t files < <(shell_files | sort -u)
    attempt shellcheck --external-sources --shell=bash "${files[@]}"
    mapfile -t files < <(git ls-files --cached --others --exclude-standard -- '*.yml' '*.yaml')
    attempt yamllint --strict "${files[@]}"
    attempt ansible-lint --offline --profile production --strict
    check_playbooks
    slowest
    no_failures
}

check_playbooks() {
    local inventory playbook
    for inventory in inventories/*/; do
        for playbook in site.yml playbooks/*.yml; do
            attempt list_tasks "$inventory" "$playbook"
        done
    done
}

# Reads what --syntax-check reads, and each block of each play as well; what it lists is of interest to nobody.
list_tasks() {
    local said
    if ! said=$(ansible-playbook --list-tasks --inventory "$1" "$2" 2>&1); then
        say "ansible-playbook --list-tasks --inventory $1 $2:" "$said"
        return 1
    fi
}

stage_types() {
    local folder folders failures=() took=()
    attempt mypy canopsis
    attempt mypy --explicit-package-bases plugins
    mapfile -t folders < <(git ls-files --cached --others --exclude-standard -- 'benchmarks/*.py' 'tests/*.py' \
        'molecule/*/tests/*.py' | xargs -n1 dirname | sort -u)
    for folder in "${folders[@]}"; do
        check_types_of "$folder"
    done
    MYPYPATH=molecule/shared/testing attempt mypy --explicit-package-bases molecule/shared molecule/conftest.py
    slowest
    no_failures
}

# Tests import their neighbours by bare name, as pytest does: a folder and its room are roots. They are checked less
# strictly: what fails in the test itself need not fail here.
check_types_of() {
    local folder=$1 files roots
    mapfile -t files < <(git ls-files --cached --others --exclude-standard -- ":(glob)$folder/*.py")
    roots=$(find tests -type d ! -name __pycache__ -path "$(cut -d/ -f1-2 <<<"$folder")*" | sort | paste -sd:)
    MYPYPATH=$folder:molecule/shared/testing:benchmarks:tests:tests/servers:tests/servers/chain:tests/servers/api:$roots \
        attempt mypy --explicit-package-bases --follow-imports=silent --no-strict-optional --allow-untyped-calls \
        --no-warn-return-any --implicit-reexport --no-strict-equality --no-warn-unused-ignores \
        --disable-error-code=var-annotated --disable-error-code=func-returns-value --disable-error-code=dict-item \
        --disable-error-code=arg-type --disable-error-code=misc "${files[@]}"
}

stage_layers() { lint-imports; }

stage_unit() {
    local measure=()
    if ((${#options[@]} + ${#paths[@]} == 0)); then
        measure=(coverage run --branch --source=canopsis/core --data-file="$LOGS/coverage" -m)
    fi
    PYTHONPATH=$PWD "${measure[@]}" pytest "${@:-tests/unit}" "${options[@]}"
    if ((${#measure[@]} > 0)); then
        coverage report --data-file="$LOGS/coverage" --show-missing --skip-covered --fail-under=100
    fi
}

stage_servers() {
    bring_servers
    PYTHONPATH=$PWD pytest "${@:-tests/servers}" "${options[@]}"
}

stage_site() {
    if ((EUID == 0)); then
        site_as_both "$@"
    elif (($#)); then
        test_site "$@"
    else
        say "left out: tests/site/as_root, which needs root (sudo ./run-tests.sh site)"
        test_site tests/site --ignore=tests/site/as_root
    fi
}

test_site() { PYTHONPATH=$PWD CANOPSIS_TEST_CACHE=$CACHE pytest "$@" "${options[@]}"; }

site_as_both() {
    local path as_user=() as_root=()
    for path in "$@"; do
        if [[ $path == *tests/site/as_root* ]]; then as_root+=("$path"); else as_user+=("$path"); fi
    done
    if (($# == 0)) || ((${#as_user[@]} > 0)); then site_as_user "${as_user[@]}"; fi
    if (($# == 0)) || ((${#as_root[@]} > 0)); then test_site "${as_root[@]:-tests/site/as_root}"; fi
}

# Servers refuse nothing to root, so a site is tested as an ordinary user, in a copy of this checkout.
site_as_user() {
    local home copy
    id "$SITE_USER" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$SITE_USER"
    home=$(getent passwd "$SITE_USER" | cut -d: -f6)
    copy=$home/checkout
    mkdir -p "$copy"
    find "$copy" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
    git ls-files --cached --others --exclude-standard -z | { xargs -0 -r ls -d 2>/dev/null || true; } |
        tar --create --files-from=- | tar --extract --directory="$copy"
    chown -R "$SITE_USER": "$copy"
    say "as the user $SITE_USER, in $copy:"
    local environment=(PATH="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" HOME="$home" CI="${CI:-}")
    local name
    for name in $(compgen -e | grep -E '^(PIP_|CANOPSIS_TEST_OUTAGE|LANG|LC_|https?_proxy|no_proxy)' || true); do
        environment+=("$name=${!name}")
    done
    runuser -u "$SITE_USER" -- env --ignore-environment --chdir="$copy" "${environment[@]}" \
        ./run-tests.sh "${@:-site}" "${options[@]}"
}

# --- molecule -----------------------------------------------------------------------------------

bring_containers() {
    local name
    command -v ssh >/dev/null || need_debian openssh-client "Ansible reaches the container hosts by ssh"
    if ((EUID != 0)) || [[ -n ${CANOPSIS_TEST_ENGINE:-} ]]; then return 0; fi
    for name in podman mmdebstrap runc iptables; do
        command -v "$name" >/dev/null || need_debian "$name" "the container hosts need $name"
    done
    for name in netavark aardvark-dns; do
        [[ -x /usr/lib/podman/$name ]] || need_debian "$name" "the container hosts need $name"
    done
}

# What an ordinary user lacks for container hosts; nothing when he can have them.
containers_lack() {
    ((EUID != 0)) || return 0
    if ! command -v "${CANOPSIS_TEST_ENGINE:-podman}" >/dev/null && ! command -v docker >/dev/null; then
        say "neither podman nor docker is installed"
    elif [[ -z ${CANOPSIS_TEST_IMAGE:-} ]]; then
        say "an image is built by root only (sudo molecule/images/build.sh), or named in CANOPSIS_TEST_IMAGE"
    fi
}

all_scenarios() {
    local path
    for path in molecule/*/molecule.yml; do basename "$(dirname "$path")"; done
}

choose_scenarios() {
    local at
    for ((at = 0; at < ${#options[@]}; at += 2)); do
        [[ ${options[at]} == -s && -f molecule/${options[at + 1]:-}/molecule.yml ]] ||
            cannot "molecule takes -s NAME, one of: $(all_scenarios | paste -sd' ')"
        scenarios+=("${options[at + 1]}")
    done
    ((${#scenarios[@]} == 0)) || return 0
    if is_everything; then scenarios=("${SHORT[@]}"); else mapfile -t scenarios < <(all_scenarios); fi
}

is_everything() { ((${#stages[@]} == ${#STAGES[@]})); }

stage_molecule() {
    local scenario began lack result scenarios=() lines=() failures=()
    lack=$(containers_lack)
    if [[ -n $lack ]]; then
        : >"$LOGS/molecule.left"
        say "left out: the scenarios of molecule/; $lack (as root nothing is left out: sudo ./run-tests.sh molecule)"
        return 0
    fi
    choose_scenarios
    export CANOPSIS_TEST_CACHE=$CACHE
    for scenario in "${scenarios[@]}"; do
        began=$SECONDS
        result=ok
        say "- molecule test -s $scenario"
        molecule test -s "$scenario" || result=FAILED
        [[ $result == ok ]] || failures+=("molecule: $scenario")
        lines+=("$scenario" "$result" "$((SECONDS - began))")
    done
    printf '%-18s %-8s %7s\n' scenario result seconds "${lines[@]}"
    no_failures
}

# --- running ------------------------------------------------------------------------------------

run_stage() {
    local stage=$1 status=0 began=$SECONDS chosen=() path
    for path in "${paths[@]}"; do
        [[ $path != *tests/"$stage"* ]] || chosen+=("$path")
    done
    # A subshell of its own, since `set -e` sleeps inside `||`, `if` and their like.
    set +e
    (
        set -e
        "stage_$stage" "${chosen[@]}"
    ) 2>&1 | tee "$LOGS/$stage.log"
    status=${PIPESTATUS[0]}
    set -e
    printf '%s %s\n' "$status" "$((SECONDS - began))" >"$LOGS/$stage.result"
    if is_whole && [[ ! -e $LOGS/$stage.left ]]; then python3 tests/last_run.py end "$stage" "$status" "$((SECONDS - began))"; fi
}

# Some tests of a stage say nothing about the stage.
is_whole() { ((${#paths[@]} + ${#options[@]} == 0)); }

take_result() {
    local stage=$1
    if [[ -f $LOGS/$stage.result ]]; then
        read -r results["$stage"] seconds["$stage"] <"$LOGS/$stage.result"
    else
        results["$stage"]=1 seconds["$stage"]=0
    fi
}

title() { printf '\n=== %s  (%d:%02d)\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }

# Two lanes side by side: one core each. The first is shown as it runs, the second when it is over.
# Container hosts want both cores: they come last.
lane_of() {
    case $1 in
        molecule) echo last ;;
        unit | site) echo shown ;;
        *) echo beside ;;
    esac
}

run_all() {
    local stage shown=() beside=() last=()
    for stage in "${stages[@]}"; do
        case $(lane_of "$stage") in
            shown) shown+=("$stage") ;;
            last) last+=("$stage") ;;
            *) beside+=("$stage") ;;
        esac
    done
    if ((${#shown[@]} == 0)); then
        shown=("${beside[@]}") beside=()
    fi
    begin_beside "${beside[@]}"
    for stage in "${shown[@]}"; do
        title "$stage"
        run_stage "$stage"
    done
    end_beside "${beside[@]}"
    for stage in "${last[@]}"; do
        title "$stage"
        run_stage "$stage"
    done
}

# In a process group of its own, so that Ctrl-C ends all of it.
begin_beside() {
    (($# > 0)) || return 0
    say "beside the rest, shown at the end: $*"
    set -m
    (
        for stage in "$@"; do
            run_stage "$stage" >/dev/null
            say "(beside: $stage is over, $(outcome "$stage"))"
        done
    ) &
    lane=$!
    set +m
    trap 'kill -TERM -- "-$lane" 2>/dev/null || true' EXIT
}

end_beside() {
    local stage
    (($# > 0)) || return 0
    wait "$lane" || true
    trap - EXIT
    for stage in "$@"; do
        title "$stage"
        cat "$LOGS/$stage.log"
    done
}

outcome() {
    take_result "$1"
    if [[ -e $LOGS/$1.left ]]; then echo "left out"; elif ((results[$1] == 0)); then echo ok; else echo FAILED; fi
}

table() {
    local stage failed=0
    printf '\n%-10s %-8s %s\n' stage result seconds
    for stage in "${stages[@]}"; do
        take_result "$stage"
        ((results[$stage] == 0)) || failed=1
        printf '%-10s %-8s %7d\n' "$stage" "$(outcome "$stage")" "${seconds[$stage]}"
    done
    printf '%-10s %-8s %7d\n' total "$( ((failed)) && echo FAILED || echo ok)" "$SECONDS"
    return "$failed"
}

# In a function, so that the script may be edited while it runs.
main() {
    parse "$@"
    mkdir -p "$LOGS"
    rm -f "$LOGS"/*.result "$LOGS"/*.left
    bring_tools
    bring_venv
    if is_whole; then python3 tests/last_run.py begin "${stages[@]}"; fi
    run_all
    table
}

main "$@"
exit
