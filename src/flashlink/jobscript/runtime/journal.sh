# shellcheck shell=bash
# What happened and when: the journal, and the sizes of the logs over time (docs/decisions/001).

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

# Note how far each log has come, four times a second, until SIGTERM; clean up if the job's main shell was killed.
watch_logs() {
  local done='' main=$$
  local -A noted=()
  trap 'done=1' TERM
  trap '' INT HUP
  exec 9<> <(:) # nothing ever comes from it: a `read` with a time limit is a pause without a process
  while [[ ! $done ]]; do
    read -r -t 0.25 -u 9
    note_sizes
    kill -0 "$main" 2>/dev/null || break
  done
  if [[ ! $done ]]; then
    kill_tagged
    remove_scratch
  fi
}

note_sizes() {
  local size log now=''
  while IFS=' ' read -r size log; do
    [[ $size != "${noted[$log]:-0}" ]] || continue
    noted[$log]=$size
    [[ $now ]] || clock
    printf '%s %s\n' "$now" "$size" >>"${log%.log}.times"
  done < <(stat -c '%s %n' -- "$pod_folder"/logs/*.log 2>/dev/null)
}
