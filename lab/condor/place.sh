# Where the lab's HTCondor stands. Sourced by lab/condor/start and lab/condor/stop.
# shellcheck shell=bash

# shellcheck source=lab/place.sh
. "$(dirname "${BASH_SOURCE[0]}")/../place.sh"

# A lab can have several, beside each other, each with a name of its own in $FLASHLINK_CONDOR.
condor=${FLASHLINK_CONDOR-}
case $condor in *[!a-z0-9]*) cannot "FLASHLINK_CONDOR=$condor: only small letters and digits make a name" ;; esac
# Inside the lab, and as the machine sees it.
inside_home=/var/lib/condor${condor:+-$condor}
home=$root$inside_home
# Seen by plugin and workers alike, at the same path.
# shellcheck disable=SC2034 # lab/condor/start uses it
shared=$lab/shared

# Each has an address of its own in the loopback network, so that two of them on one machine do not meet.
address() {
  local sum
  sum=$(printf '%s' "$lab$condor" | sha256sum)
  printf '127.%d.%d.%d' $((16#${sum:0:2} % 200 + 20)) $((16#${sum:2:2} % 250 + 2)) $((16#${sum:4:2} % 250 + 2))
}

# The process that holds the daemons; nothing if there is none.
keeper() {
  local pid
  pid=$(cat "$home/keeper.pid" 2>/dev/null) || return 0
  if [ "$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")" = "/bin/bash $checkout/lab/condor/keep $(address) $inside_home " ]; then echo "$pid"; fi
}
