#!/usr/bin/env bash
# The build system: lays Canopsis and the servers it needs in one folder, and, without a verb, builds, deploys and
# starts the local site. docs/packages.md says more.
set -euo pipefail
shopt -s inherit_errexit
umask 022
export LC_ALL=C.UTF-8
# Settings of another broker, Python or Ansible, made by whoever types the command, are not this site's.
for name in $(compgen -e); do
    case $name in RABBITMQ_* | ERL_* | PYTHON* | ANSIBLE_* | SUPERVISOR_*) unset "$name" ;; esac
done

HERE=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
for part in common files distribution python package verbs checks boot site; do
    # shellcheck source=/dev/null
    . "$HERE/packages/lib/$part.sh"
done
# On one line with its end: `remove` may take this very file away.
main "$@"; exit
