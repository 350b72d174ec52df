# shellcheck shell=bash
# What starts the site at boot: a unit of systemd where root builds it, a line of the crontab for an ordinary user.

SYSTEMD=/run/systemd/system
UNITS=/etc/systemd/system

# The site in the usual place has the name that site.yml gives it on many hosts, any other one of its own.
unit_name() {
    local folder=${PREFIX#/}
    if [[ $PREFIX == /opt/canopsis ]]; then printf 'canopsis.service'; return; fi
    folder=${folder//-/--}
    printf 'canopsis-%s.service' "$(printf '%s' "${folder//\//-}" | tr -c 'A-Za-z0-9._-' _)"
}

# The unit of the role, filled in here: root runs and believes nothing that the site's user can write.
render_unit() {
    sed -e "s#{{ supervisor_prefix }}#$PREFIX#g; s#{{ supervisor_user }}#$SITE_USER#g; s#{{ supervisor_open_files }}#$(open_files)#g" \
        "$HERE/roles/supervisor/templates/canopsis.service.j2"
}

open_files() {
    local most
    most=$(ulimit -Hn)
    if [[ $most == unlimited ]] || ((most > 65536)); then most=65536; fi
    printf '%s' "$most"
}

# A unit that is there and switched off stays off: somebody wanted it so.
start_at_boot() {
    local name unit new=''
    name=$(unit_name)
    unit=$UNITS/$name
    if [[ ! -d $SYSTEMD ]]; then
        say "At boot nothing starts the site: this host has no systemd. $PREFIX/bin/hypcontrol start does it"
        return
    fi
    [[ -e $unit ]] || new=yes
    if ! render_unit | cmp -s - "$unit"; then
        render_unit >"$unit.new"
        mv -- "$unit.new" "$unit"
        systemctl daemon-reload
    fi
    if [[ $new ]]; then
        systemctl --quiet enable --now "$name" || die "the site runs, but systemd could not take it over; see journalctl -u $name"
    fi
    if systemctl --quiet is-enabled "$name"; then
        say "systemd starts the site at boot; systemctl disable $name ends that"
    else
        say "At boot nothing starts the site: $name is switched off; systemctl enable $name switches it on"
    fi
}

forget_boot() {
    local name unit
    name=$(unit_name)
    unit=$UNITS/$name
    if [[ -w $UNITS ]] && grep -qxF "Description=Canopsis in $PREFIX" "$unit" 2>/dev/null; then
        if [[ -d $SYSTEMD ]]; then systemctl --quiet disable --now "$name" || warn "$name had trouble; going on"; fi
        rm -f -- "$unit"
        if [[ -d $SYSTEMD ]]; then systemctl daemon-reload; fi
        say "Removed $unit"
    elif boot_line_stands; then
        warn "the crontab of $(id -un) still starts the site at boot: take its line out with crontab -e"
    fi
}

boot_line() { printf '@reboot %s/bin/hypcontrol start' "$PREFIX"; }

boot_line_stands() { crontab -l 2>/dev/null | grep -xF "$(boot_line)" >/dev/null; }

# An ordinary user may have it so with one line. Where root built the site, that is root's.
tell_boot() {
    local how=''
    if boot_line_stands || [[ -e $UNITS/$(unit_name) ]]; then return; fi
    command -v crontab >/dev/null || how=' (crontab is in the Debian package cron)'
    printf 'At boot nothing starts it yet; this line does%s:\n' "$how"
    printf "  (crontab -l 2>/dev/null; echo '%s') | crontab -\n" "$(boot_line)"
}
