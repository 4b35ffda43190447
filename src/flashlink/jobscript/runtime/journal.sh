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

declare -A noted=() # size by log, as last written

# Note how far each log has come, four times a second; clean up when the job's main shell was killed.
watch_logs() {
  trap '' TERM INT HUP
  while kill -0 "$$" 2>/dev/null; do
    note_sizes
    tick 0.25
  done
  kill_tagged
  remove_scratch
}

note_sizes() {
  local size log times now=''
  while IFS=' ' read -r size log; do
    times=${log%.log}.times
    if [[ ! ${noted[$log]:-} && -e $times ]]; then # the watcher wrote it, and we are not the watcher
      noted[$log]=$(last_size "$times")
    fi
    [[ $size != "${noted[$log]:-0}" ]] || continue
    noted[$log]=$size
    [[ $now ]] || clock
    printf '%s %s\n' "$now" "$size" >>"$times"
  done < <(stat -c '%s %n' -- "$pod_folder"/logs/*.log 2>/dev/null)
}

# TIMES: the size in its last line.
last_size() {
  local size
  read -r _ size < <(tail -n 1 -- "$1")
  printf '%s' "$size"
}
