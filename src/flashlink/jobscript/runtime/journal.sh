# shellcheck shell=bash
# What happened and when: the journal (docs/decisions/001).

# The time in $now: seconds since the epoch, with a fraction.
clock() {
  now=${EPOCHREALTIME:-}
  if [[ ! $now ]]; then # before bash 5
    now=$(date +%s.%6N)
  fi
}

# EVENT CONTAINER [KEY=VALUE]...
journal() {
  local IFS=$'\t' now
  clock
  printf '%s\n' "$now"$'\t'"$*" >>"$pod_folder/journal"
}
