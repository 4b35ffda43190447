# shellcheck shell=bash
# What happened and when: the journal (docs/decisions/001).

# The time in $now: seconds since the epoch, with a fraction.
clock() {
  now=${EPOCHREALTIME:-}
  if [[ ! $now ]]; then # before bash 5
    now=$(date +%s.%6N)
  fi
}

unwritten='' # lines that the disk has not taken yet

# EVENT CONTAINER [KEY=VALUE]...
journal() {
  local IFS=$'\t' now other
  clock
  unwritten+=$now$'\t'"$*"$'\n'
  if [[ $2 == "${pod_names[0]:-}" ]]; then
    for other in ${script_alike[@]+"${script_alike[@]}"}; do
      unwritten+=$now$'\t'$1$'\t'$other$'\t'"${*:3}"$'\n'
    done
  fi
  write_journal
}

# A full disk may take a part of a line: that one is ended before the rest is tried again.
write_journal() {
  [[ $unwritten ]] || return 0
  if { printf '%s' "$unwritten" >>"$pod_folder/journal"; } 2>/dev/null; then
    unwritten=''
    return
  fi
  [[ $unwritten == $'\n'* ]] || unwritten=$'\n'$unwritten
  free_reserve
  { printf '%s' "$unwritten" >>"$pod_folder/journal"; } 2>/dev/null && unwritten=''
}
