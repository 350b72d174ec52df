#!/usr/bin/env bash
# Builds the image of a test host: a minimal Debian with systemd, Python and sshd, nothing of Canopsis.
#   molecule/images/build.sh [bookworm|trixie]      as root; needs mmdebstrap and podman or docker
# CANOPSIS_TEST_ENGINE names podman or docker (what is installed). With an image of your own in CANOPSIS_TEST_IMAGE
# nothing need be built.
set -euo pipefail

readonly RELEASE=${1:-bookworm}
readonly PACKAGES=systemd,systemd-sysv,dbus,python3,python3-venv,sudo,ca-certificates,iproute2,procps,openssh-server
readonly IMAGE=localhost/canopsis-host:$RELEASE

cannot() {
    printf 'molecule/images/build.sh: %s\n' "$*" >&2
    exit 1
}

find_engine() {
    local name
    for name in ${CANOPSIS_TEST_ENGINE:-podman docker}; do
        if command -v "$name" >/dev/null; then
            printf '%s\n' "$name"
            return
        fi
    done
    cannot "neither podman nor docker is here. Install one: sudo apt-get install --no-install-recommends podman"
}

[[ $RELEASE == bookworm || $RELEASE == trixie ]] || cannot "no such release: $RELEASE (bookworm or trixie)"
engine=$(find_engine)
command -v mmdebstrap >/dev/null ||
    cannot "mmdebstrap is missing: sudo apt-get install --no-install-recommends mmdebstrap; or name an image in CANOPSIS_TEST_IMAGE"
((EUID == 0)) ||
    cannot "run it as root (sudo $0 $RELEASE), or name an image in CANOPSIS_TEST_IMAGE"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
# Each host makes SSH keys of its own when it starts first.
mkdir -p "$folder/overlay/etc/systemd/system/multi-user.target.wants"
cat >"$folder/overlay/etc/systemd/system/ssh-keys.service" <<'UNIT'
[Unit]
Before=ssh.service
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A
UNIT
ln -s ../ssh-keys.service "$folder/overlay/etc/systemd/system/multi-user.target.wants/"
mmdebstrap --quiet --variant=minbase --include="$PACKAGES" \
    --customize-hook="rm -f \"\$1\"/etc/ssh/ssh_host_*" --customize-hook="copy-in $folder/overlay/etc /" \
    "$RELEASE" "$folder/image.tar"
"$engine" import --change 'CMD ["/lib/systemd/systemd"]' --change 'STOPSIGNAL SIGRTMIN+3' "$folder/image.tar" "$IMAGE" >/dev/null
printf '%s\n' "$IMAGE"
