"""What MongoDB wants of the kernel, by its version, and what of it a host lacks. Pure."""

from __future__ import annotations

from collections.abc import Mapping

HUGE = "/sys/kernel/mm/transparent_hugepage"
LEAST = frozenset({"/proc/sys/vm/max_map_count"})
"""Settings that may be more than what is wanted."""
SYSCTL_FILE = "/etc/sysctl.d/60-canopsis-mongodb.conf"
TMPFILES_FILE = "/etc/tmpfiles.d/canopsis-mongodb.conf"


def wanted(version: str) -> dict[str, str]:
    """Return value by file. From 8.0 on MongoDB's allocator wants huge pages, before it they cost memory."""
    settings = {
        "/proc/sys/vm/swappiness": "1",
        "/proc/sys/vm/max_map_count": "128000",
        "/proc/sys/vm/zone_reclaim_mode": "0",
    }
    if int(version.split(".", 1)[0]) < 8:
        return settings | {f"{HUGE}/enabled": "never", f"{HUGE}/defrag": "never"}
    return settings | {
        "/proc/sys/vm/overcommit_memory": "1",
        f"{HUGE}/enabled": "always",
        f"{HUGE}/defrag": "defer+madvise",
        f"{HUGE}/khugepaged/max_ptes_none": "0",
    }


def chosen(text: str) -> str:
    """Return the value that a file of the kernel has: the one in brackets where it lists all that it takes."""
    marked = [word[1:-1] for word in text.split() if word.startswith("[")]
    return marked[0] if marked else text.strip()


def lacking(version: str, present: Mapping[str, str]) -> dict[str, str]:
    """Return what is to be written by file. ``present`` has the text of each file that the kernel has."""
    found = {path: chosen(text) for path, text in present.items()}
    return {
        path: value
        for path, value in wanted(version).items()
        if path in found
        and found[path] != value
        and not (path in LEAST and found[path].isdecimal() and int(found[path]) >= int(value))
    }


def boot_files(version: str) -> dict[str, str]:
    """Return the files by which the settings are there after a boot."""
    settings = wanted(version)
    sysctl = [
        f"{path.removeprefix('/proc/sys/').replace('/', '.')} = {value}"
        for path, value in settings.items()
        if path.startswith("/proc/sys/")
    ]
    huge = [f"w {path} - - - - {value}" for path, value in settings.items() if path.startswith(HUGE)]
    return {SYSCTL_FILE: _text(sysctl), TMPFILES_FILE: _text(huge)}


def _text(lines: list[str]) -> str:
    return "\n".join(["# Written by site.yml.", *lines, ""])


def reason_to_skip(*, managed: bool, root: bool, container: bool) -> str:
    """Return why this host's kernel is left alone; '' when it is not."""
    if container:
        return "in a container the kernel is its host's: set it there"
    if not managed:
        return "mongodb_manage_kernel is false"
    return "" if root else "not root: the user of the connection needs sudo, or set mongodb_manage_kernel to false"
