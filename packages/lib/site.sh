# shellcheck shell=bash
# Without a verb: build the environment, deploy the local site, start it, say where it is. And take it away again.

SITE_USER=canopsis
# Root builds the site as its user, and has it started at boot when that is done.
BY_ROOT=${CANOPSIS_BY_ROOT:-}
# The prefix is the home of the site's user, who may log in: these come with that, and stay.
readonly OF_A_HOME=(.ansible .bash_history .bash_logout .bashrc .profile .ssh)

build_site() {
    STARTED=$(clock)
    refuse_foreign_folder
    if ((EUID == 0)); then build_site_as_root; return; fi
    read_site
    check_host
    open_prefix
    # Unpacked once for the whole run, the roles included.
    CANOPSIS_FROM=${FROM_FOLDER:-}
    in_order "${ALL_PACKAGES[@]}"
    check_packages
    open_log
    say "Canopsis in $PREFIX, ports from $PORT_BASE (log: ${LOG#"$PREFIX"/})"
    write_site port_base "$PORT_BASE"
    build_environment
    deploy
    wait_healthy
    show_tour
}

# A folder with anything else in it would change hands (as root) and be deleted by `remove`.
refuse_foreign_folder() {
    local entry
    for entry in "$PREFIX"/* "$PREFIX"/.[!.]*; do
        case ${entry##*/} in
            bin | etc | opt | var | supervisord.conf | '*' | '.[!.]*') ;;
            *) is_of_a_home "${entry##*/}" || misuse "$PREFIX holds ${entry##*/}, which is no part of a site: choose an empty folder with --prefix" ;;
        esac
    done
}

is_of_a_home() { [[ " ${OF_A_HOME[*]} " == *" $1 "* ]]; }

# What the last run was told stays so: the ports do not move because a variable was not set again.
site_file() { printf '%s/var/lib/site.info' "$PREFIX"; }

read_site() {
    local before
    before=$(recorded "$(site_file)" port_base)
    PORT_BASE=${CANOPSIS_PORT_BASE:-${before:-8082}}
    if [[ ! $PORT_BASE =~ ^[0-9]{4,5}$ ]] || ((PORT_BASE < 1024 || PORT_BASE > 65500)); then
        misuse "CANOPSIS_PORT_BASE=$PORT_BASE: a port from 1024 to 65500 is needed"
    fi
    if [[ $before && $before != "$PORT_BASE" && -d $PREFIX/var/lib/mongodb ]]; then
        misuse "CANOPSIS_PORT_BASE=$PORT_BASE: this site has its ports from $before, and its databases know them; remove it first"
    fi
    export CANOPSIS_PORT_BASE=$PORT_BASE CANOPSIS_PREFIX=$PREFIX
    if [[ $FROM_OPTION ]]; then FROM_OPTION=$(realpath -- "$FROM_OPTION"); fi
    export CANOPSIS_FROM=$FROM_OPTION
}

# write_site KEY VALUE: remember one more fact of the site.
write_site() {
    local file
    file=$(site_file)
    mkdir -p -- "${file%/*}"
    { sed "/^$1 /d" -- "$file" 2>/dev/null || true; printf '%s %s\n' "$1" "$2"; } >"$file.new"
    mv -- "$file.new" "$file"
}

open_log() {
    LOG=$PREFIX/var/log/build-install.log
    mkdir -p -- "${LOG%/*}"
    [[ ! -e $LOG ]] || mv -- "$LOG" "$LOG.1"
    command install -m 640 /dev/null "$LOG"
    printf '%s ./build-install.sh, prefix %s, ports from %s\n' "$(date -u +%FT%TZ)" "$PREFIX" "$PORT_BASE" >"$LOG"
}

# One line a step, with its time: written when it ends, and shown while it lasts where someone watches.
step_done() { clear_step; printf '  %-28s %10s  %s\n' "$1" "$(elapsed "$2")" "${3:-}"; }
show_step() { [[ ! -t 1 ]] || printf '\r\033[K  %.70s' "$1"; }
clear_step() { [[ ! -t 1 ]] || printf '\r\033[K'; }

# The packages come in three lines at once: their sources, not the processor, set the pace.
build_environment() {
    declare -gA JOB_NAME=() JOB_LOG=() JOB_START=()
    trap 'stop_jobs; sweep_scratch' EXIT
    start_job "MongoDB" mongodb
    start_job "RabbitMQ, Erlang, collectd" erlang rabbitmq-server collectd-libs collectd
    start_job "Canopsis" canopsis
    start_job "controller (ansible-core)" controller
    await_jobs
}

start_job() {
    local log name=$1 from=()
    shift
    log=$(work_folder)/job.$1.log
    if [[ $FROM_OPTION ]]; then from=(--from "${FROM_FOLDER:-$FROM_OPTION}"); fi
    # A process group of its own, so that stopping it stops what it runs.
    setsid "$HERE/build-install.sh" install --prefix "$PREFIX" "${from[@]}" "$@" >"$log" 2>&1 </dev/null &
    JOB_NAME[$!]=$name JOB_LOG[$!]=$log JOB_START[$!]=$(clock)
}

await_jobs() {
    local pid status
    while ((${#JOB_NAME[@]})); do
        show_step "building: $(IFS=';'; printf '%s' "${JOB_NAME[*]}")"
        status=0
        wait -n -p pid "${!JOB_NAME[@]}" || status=$?
        cat -- "${JOB_LOG[$pid]}" >>"$LOG"
        if ((status)); then
            clear_step
            warn "${JOB_NAME[$pid]} could not be built:"
            grep -v '^  [a-z]* ' "${JOB_LOG[$pid]}" | tail -n 8 >&2
            unset "JOB_NAME[$pid]"
            exit 1
        fi
        step_done "${JOB_NAME[$pid]}" "${JOB_START[$pid]}"
        unset "JOB_NAME[$pid]"
    done
}

stop_jobs() {
    local pid
    for pid in "${!JOB_NAME[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
    wait
}

deploy() {
    local status=0
    export ANSIBLE_CONFIG=$HERE/ansible.cfg ANSIBLE_HOME=$PREFIX/var/cache/ansible ANSIBLE_NOCOLOR=1
    export ANSIBLE_LOCAL_TEMP=$PREFIX/var/cache/ansible/tmp ANSIBLE_REMOTE_TMP=$PREFIX/var/cache/ansible/tmp
    export ANSIBLE_STDOUT_CALLBACK=ansible.builtin.default ANSIBLE_CALLBACK_RESULT_FORMAT=yaml
    cd -- "$HERE" || die "cannot enter $HERE"
    "$PREFIX/opt/controller/current/bin/ansible-playbook" -i inventories/local site.yml "${EXTRA_ARGS[@]}" \
        </dev/null 2>&1 | show_playbook || status=$?
    ((status == 0)) && return
    clear_step
    warn "the deployment stopped; the whole of it is in $LOG:"
    why_stopped "$LOG" >&2
    exit 1
}

# What a playbook that failed says of it in log $1; of one that did not even begin, its last words.
why_stopped() {
    local cause
    cause=$(sed -n '/^\(fatal\|\[ERROR\]\|ERROR!\|failed:\)/,/^\(PLAY\|TASK\|NO MORE\)/p' "$1" | grep -v '^\(PLAY\|TASK\|NO MORE\)' | head -n 40 || true)
    printf '%s\n' "${cause:-$(grep -v '^ *$' "$1" | tail -n 15)}"
}

# From the playbook's output: all of it in the log, a line a role on the screen.
show_playbook() {
    local line role='' started
    started=$(clock)
    while IFS= read -r line; do
        printf '%s\n' "$line" >>"$LOG"
        case $line in
            'TASK ['*' : '*)
                line=${line#TASK [}
                if [[ ${line%% : *} != "$role" ]]; then
                    [[ ! $role ]] || step_done "role $role" "$started"
                    role=${line%% : *}
                    started=$(clock)
                fi
                line=${line#* : }
                show_step "role $role: ${line%%]*}"
                ;;
            'PLAY RECAP'*) [[ ! $role ]] || step_done "role $role" "$started" ;;
            *ok=*changed=*) CHANGED=${line#*changed=}; printf '%s' "${CHANGED%% *}" >"$(work_folder)/changed" ;;
        esac
    done
}

wait_healthy() {
    local started
    started=$(clock)
    show_step "waiting until all is well"
    "$PYTHON" "$HERE/packages/lib/until.py" 60 "$PREFIX/bin/canopsis" status >>"$LOG" 2>"$(work_folder)/unhealthy" || {
        clear_step
        warn "the site runs, but not all is well (canopsis status says):"
        tail -n 30 "$(work_folder)/unhealthy" >&2
        exit 1
    }
    step_done "all is well" "$started"
}

# The value of one key of an INI file.
setting() { sed -n "s/^$2 *= *//p" "$PREFIX/etc/$1" | head -n 1; }

show_tour() {
    local url key changed password="in $PREFIX/etc/secrets.yml (webserver_admin_login_password)"
    if [[ ! $(recorded "$(site_file)" password_shown) ]]; then
        password="$(sed -n 's/^webserver_admin_login_password: *//p' "$PREFIX/etc/secrets.yml" | tr -d \"\'), kept $password"
    fi
    url=$(setting client.conf url)
    key=$(setting client.conf authkey)
    changed=$(cat -- "$(work_folder)/changed" 2>/dev/null || true)
    cat <<TEXT

Canopsis runs: $url ($(elapsed "$STARTED"), ${changed:-?} changed)
  login     admin, password $password
  key       $key
Try, after export PATH=$PREFIX/bin:\$PATH
  canopsis check --resource load -- $(load_check 0 2)
  canopsis alarms                     # the check above opened one; the one below brings it back to OK
  canopsis check --resource load -- $(load_check 100 0)
Stop it with hypcontrol stop, start it with hypcontrol start.
TEXT
    if [[ ! $BY_ROOT ]]; then tell_boot; fi
    write_site password_shown yes
}

# A real check of this host's load: the Nagios plugin where it is, else the shell. It ends with state $2 above load $1.
load_check() {
    local plugin=/usr/lib/nagios/plugins/check_load
    if [[ -x $plugin ]]; then printf '%s -w %s -c %s' "$plugin" "$1" "$1"; return; fi
    printf "sh -c 'read one rest </proc/loadavg; echo \"LOAD \$one | load1=\$one;%s;%s\"; exit %s'" "$1" "$1" "$2"
}

# As root the site belongs to a user of its own, who must be able to read the checkout: it gets a copy.
build_site_as_root() {
    command -v runuser >/dev/null || die "no command runuser: $(how_to_get util-linux)"
    command -v useradd >/dev/null || die "no command useradd: $(how_to_get passwd)"
    SITE_OWNER_UID=$(id -u "$SITE_USER" 2>/dev/null || true)
    bring_python
    read_site
    check_host
    make_user
    copy_checkout
    local source=$PREFIX/var/lib/source from=()
    if [[ $FROM_OPTION ]]; then from=(--from "$(readable_bundle)"); fi
    as_user env CANOPSIS_PREFIX="$PREFIX" CANOPSIS_PORT_BASE="$PORT_BASE" CANOPSIS_BY_ROOT=yes \
        "$source/build-install.sh" --prefix "$PREFIX" "${from[@]}" -- "${EXTRA_ARGS[@]}"
    start_at_boot
}

# One Debian package root may bring itself; it says so.
bring_python() {
    if find_python || ! command -v apt-get >/dev/null || [[ $FROM_OPTION ]]; then return 0; fi
    say "This host's Python has no venv: apt-get install python3-venv"
    { DEBIAN_FRONTEND=noninteractive apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install python3-venv; } \
        >/dev/null 2>&1 || warn "apt-get install python3-venv failed"
}

make_user() {
    mkdir -p -- "$PREFIX"
    if [[ ! $SITE_OWNER_UID ]]; then
        useradd --system --user-group --home-dir "$PREFIX" --no-create-home --shell /bin/bash "$SITE_USER"
        write_site made_user "$SITE_USER"
        say "Made the user $SITE_USER"
    fi
    [[ $(stat -c %U -- "$PREFIX") == "$SITE_USER" ]] || chown -R "$SITE_USER:" -- "$PREFIX"
    mkdir -p -- "$PREFIX/var/lib"
    chown "$SITE_USER:" -- "$PREFIX" "$PREFIX"/var "$PREFIX"/var/lib "$(site_file)" 2>/dev/null || true
}

copy_checkout() {
    local source=$PREFIX/var/lib/source part parts=()
    if [[ $HERE == "$source" ]]; then return; fi
    for part in build-install.sh packages requirements requirements.yml canopsis roles plugins inventories playbooks \
        site.yml ansible.cfg setup.cfg pyproject.toml README.md LICENSE; do
        [[ ! -e $HERE/$part ]] || parts+=("$part")
    done
    rm -rf -- "$source.new"
    mkdir -p -- "$source.new"
    tar -C "$HERE" --exclude=__pycache__ -cf - "${parts[@]}" | tar --no-same-owner -xf - -C "$source.new"
    chmod -R u+rwX,go+rX -- "$source.new"
    chown -R "$SITE_USER:" -- "$source.new"
    rm -rf -- "$source"
    mv -T -- "$source.new" "$source"
}

readable_bundle() {
    local copy=$PREFIX/var/cache/packages/given
    if as_user test -r "$FROM_OPTION"; then printf '%s' "$FROM_OPTION"; return; fi
    rm -rf -- "$copy"
    mkdir -p -- "${copy%/*}"
    cp -r -- "$FROM_OPTION" "$copy"
    chown -R "$SITE_USER:" -- "$PREFIX/var/cache"
    printf '%s' "$copy"
}

# What root built belongs to the site's user: root writes nothing into it and runs nothing of it.
is_of_another() {
    ((EUID == 0)) && [[ -e $(site_file) || -d $(records) ]] && [[ $(stat -c %U -- "$PREFIX") != root ]]
}

by_owner() {
    local given=("$@")
    SITE_USER=$(stat -c %U -- "$PREFIX")
    copy_checkout
    if [[ $FROM_OPTION ]]; then
        FROM_OPTION=$(realpath -- "$FROM_OPTION")
        given+=(--from "$(readable_bundle)")
    fi
    as_user "$PREFIX/var/lib/source/build-install.sh" "${given[@]}" --prefix "$PREFIX" ${QUIET:+--quiet}
}

as_user() { (cd / && runuser -u "$SITE_USER" -- env HOME="$PREFIX" USER="$SITE_USER" LOGNAME="$SITE_USER" "$@"); }

# Take the whole site away: stop what runs, ask, delete.
remove_site() {
    [[ -d $PREFIX ]] || die "$PREFIX: no such folder; nothing to remove"
    refuse_foreign_folder
    [[ -e $(site_file) || -d $PREFIX/var/lib/packages || -e $PREFIX/supervisord.conf ]] || die "$PREFIX is no site of Canopsis: nothing removed"
    refuse_mounted
    confirm_removal
    MADE_USER=$(recorded "$(site_file)" made_user)
    forget_boot
    stop_site
    if [[ $KEEP_DATA ]]; then
        keep_data
    else
        delete_prefix
        remove_user
    fi
    say "Removed ${KEEP_DATA:+all but the data of }$PREFIX"
}

# A disk can be emptied where it is mounted, but its mount point cannot be deleted: half a removal.
refuse_mounted() {
    local mount mounts
    mapfile -t mounts < <(findmnt --list --noheadings --output TARGET)
    for mount in "${mounts[@]}"; do
        [[ $mount == "$PREFIX"/* ]] || continue
        if [[ $KEEP_DATA ]] && is_of_the_data "${mount#"$PREFIX"/}"; then continue; fi
        die "a disk is mounted at $mount: nothing removed. Stop the site ($PREFIX/bin/hypcontrol stop), umount $mount, run this again; what is on the disk stays"
    done
}

is_of_the_data() { [[ $1/ == var/lib/mongodb/* || $1/ == var/lib/rabbitmq/* || $1/ == var/backups/* || $1 == var || $1 == var/lib ]]; }

confirm_removal() {
    local answer
    [[ ! $YES && ! $KEEP_DATA ]] || return 0
    [[ -t 0 ]] || die "remove takes $PREFIX with all alarms and events away: say --yes, or --keep-data"
    read -rp "Delete $PREFIX with all its alarms, events and measurements? [y/N] " answer
    [[ $answer == [yY]* ]] || { say "Nothing removed"; exit 1; }
}

stop_site() {
    local pid
    if [[ -x $PREFIX/bin/hypcontrol ]]; then "$PREFIX/bin/hypcontrol" stop || warn "hypcontrol stop had trouble; going on"; fi
    pid=$(cat -- "$PREFIX/var/run/supervisord.pid" 2>/dev/null || true)
    if [[ $pid && -d /proc/$pid ]]; then end_process "$pid"; fi
    # Whatever still runs out of the prefix would write into a folder that goes.
    for pid in $(site_processes); do end_process "$pid"; done
}

site_processes() {
    local process
    for process in /proc/[0-9]*; do
        case $(readlink "$process/exe" 2>/dev/null || true) in
            "$PREFIX"/opt/*) printf '%s\n' "${process#/proc/}" ;;
            *) if tr '\0' '\n' 2>/dev/null <"$process/cmdline" | sed -n 1,2p | grep "^$PREFIX/opt/" >/dev/null; then printf '%s\n' "${process#/proc/}"; fi ;;
        esac
    done
}

end_process() {
    kill -TERM "$1" 2>/dev/null || return 0
    timeout 20 tail --pid="$1" -f /dev/null || kill -KILL "$1" 2>/dev/null || true
}

delete_prefix() {
    delete_all_but
    # The folder itself may hold what is of a home, or stand where this user cannot remove it.
    rmdir -- "$PREFIX" 2>/dev/null || true
}

# Deletes what is directly in the prefix, but not these names and not what is of a home.
delete_all_but() {
    local name kept=()
    for name in "${OF_A_HOME[@]}" "$@"; do kept+=(! -name "$name"); done
    find "$PREFIX" -mindepth 1 -maxdepth 1 "${kept[@]}" -exec rm -rf -- {} +
}

# What a new site in the same folder takes up again: the databases, the secrets they were made with, own packages.
keep_data() {
    delete_all_but var etc
    find "$PREFIX/etc" -mindepth 1 -maxdepth 1 ! -name secrets.yml ! -name packages -exec rm -rf -- {} +
    find "$PREFIX/var" -mindepth 1 -maxdepth 1 ! -name lib ! -name backups -exec rm -rf -- {} +
    find "$PREFIX/var/lib" -mindepth 1 -maxdepth 1 ! -name mongodb ! -name rabbitmq ! -name site.info -exec rm -rf -- {} +
}

remove_user() {
    ((EUID == 0)) && [[ ${MADE_USER:-} ]] || return 0
    userdel "$MADE_USER" 2>/dev/null || warn "userdel $MADE_USER failed"
    say "Removed the user $MADE_USER"
}
