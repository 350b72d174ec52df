#!/usr/bin/env bash
# The build system: lays Canopsis and the servers it needs in one folder, and, without a verb, builds, deploys and
# starts the local site. docs/packages.md says more.
set -euo pipefail
shopt -s inherit_errexit
umask 022
export LC_ALL=C.UTF-8

HERE=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
for part in common files distribution python package verbs checks site; do
    # shellcheck source=/dev/null
    . "$HERE/packages/lib/$part.sh"
done
# On one line with its end: `remove` may take this very file away.
main "$@"; exit
