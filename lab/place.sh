# Where the lab stands, and who is in it. Sourced by lab/up, lab/down and lab/enter.
# shellcheck shell=bash

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
lab=${FLASHLINK_LAB:-$checkout/.lab}
root=$lab/root
images=$lab/images
stamp=$lab/recipe
# The plain user of the lab. The number is one that no user of the machine is likely to have, since files are shared.
# shellcheck disable=SC2034 # lab/enter and lab/up use them
physicist=lab physicist_uid=6174

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# Exit status 3 means everywhere that this machine cannot have a lab, and that nothing else is wrong.
cannot() {
  say "$*"
  exit 3
}

need_root() {
  [ "$(id -u)" = 0 ] || cannot "the lab needs root, to make a root file system and to enter it; this is user $(id -un)"
}

# One caller at a time changes the lab; the lock ends with the calling script. It is on the folder that holds the lab, since a
# file in the lab would go with it under those who wait.
lock() {
  mkdir -p "$lab"
  exec 9<"$(dirname "$lab")"
  flock 9
}

# Process ids in the lab. Their mounts are their own, but their root is the lab's folder by device and inode.
inside() {
  local here process
  here=$(stat -c %d:%i "$root" 2>/dev/null) || return 0
  for process in /proc/[0-9]*; do
    if [ "$(stat -Lc %d:%i "$process/root" 2>/dev/null)" = "$here" ]; then echo "${process#/proc/}"; fi
  done
}

# End every process in the lab, which ends its mounts, then remove the lab's files.
clear_lab() {
  local pids signal
  for signal in TERM KILL; do
    mapfile -t pids < <(inside)
    [ "${#pids[@]}" -gt 0 ] || break
    say "ending ${#pids[@]} processes in the lab (SIG$signal)"
    kill "-$signal" "${pids[@]}" 2>/dev/null || true
    for _ in {1..50}; do
      [ -n "$(inside)" ] || break
      sleep 0.1
    done
  done
  rm -rf --one-file-system -- "$stamp" "$root" "$root.new" "$images" "$lab/slurm" "$lab/shared" "$lab"/condor-users*
}
