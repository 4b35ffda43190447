# shellcheck shell=bash
# Probes and the postStart hook: a shell beside the container that asks how it is, and has it ended if it is not well.

# KIND DELAY PERIOD TIMEOUT SUCCESSES FAILURES GRACE HANDLER...: KIND is startup, readiness or liveness; GRACE may be "".
with_probe() {
  case $1 in
    startup) startup=("${@:2}") ;;
    readiness) readiness=("${@:2}") ;;
    liveness) liveness=("${@:2}") ;;
  esac
}

# True if the container has something to ask for while it runs, or to wait for.
needs_prober() { ((${#post_start[@]} + ${#startup[@]} + ${#readiness[@]} + ${#liveness[@]})); }

# True if the container is not ready from its first moment on.
starts_unready() { ((${#post_start[@]} + ${#startup[@]} + ${#readiness[@]})); }

# [READY]
start_prober() {
  probe_container "$@" 4>&- 6>&- 7>&- 8<&- &
  prober=$!
}

# One that was killed is followed by another, which does not know how ready the container was told to be.
mind_prober() {
  local code
  [[ $prober && ! $ending ]] && ! kill -0 "$prober" 2>/dev/null || return 0
  await "$prober"
  prober=''
  ((code == 0)) || start_prober unknown
}

# [READY]: the shell beside the container of $child.
probe_container() {
  local failure='' ready=${1:-1} unwritten=''
  [[ ! $unready || $ready == unknown ]] || ready=''
  trap 'kill_group "$attempting"; exit 0' TERM
  trap - USR1 USR2 HUP
  set -m
  await_first
  is_up || bring_up
  watch liveness readiness
}

is_up() {
  local up=''
  read -r up 2>/dev/null <"$pod_folder/tmp/$name.up"
  [[ $up == "$instance" ]]
}

# The hook and the startup probe, once in the life of an instance.
bring_up() {
  if ((${#post_start[@]})); then
    asking=post_start
    attempt 0 "${post_start[@]}" || condemn hook '' "its postStart hook failed: $failure"
  fi
  watch startup
  printf '%s\n' "$instance" >"$pod_folder/tmp/$name.up"
  ((${#readiness[@]})) || tell_ready yes
}

# Commands in a container need its first process.
await_first() {
  [[ $pod_runtime != host ]] && enters_container || return 0
  until find_first; do
    tick 0.05
  done
}

# KIND...: ask these probes, each at its period, until one of them condemns the container, or a startup probe has succeeded.
watch() {
  local kind
  local -a probe
  local -A next_time=() result=() row=()
  for kind in "$@"; do
    load_probe "$kind"
    ((${#probe[@]} == 0)) || next_time[$kind]=$((began + probe[0]))
  done
  while ((${#next_time[@]})); do
    for kind in "${!next_time[@]}"; do
      ((SECONDS >= next_time[$kind])) || continue
      load_probe "$kind"
      next_time[$kind]=$((SECONDS + probe[1]))
      asking=$kind
      ask_probe "$kind"
      [[ $kind != startup || ${result[startup]} != well ]] || return 0
    done
    tick 0.2
    write_journal
    kill -0 "$supervisor" 2>/dev/null || exit
  done
}

# KIND: its settings, in $probe.
load_probe() {
  case $1 in
    startup) probe=(${startup[@]+"${startup[@]}"}) ;;
    readiness) probe=(${readiness[@]+"${readiness[@]}"}) ;;
    liveness) probe=(${liveness[@]+"${liveness[@]}"}) ;;
  esac
}

# KIND: the command of a probe or hook, in the place of the container's own.
load_command() {
  local -a probe
  case $1 in
    post_start) argv=("${post_start[@]:1}") ;;
    pre_stop) argv=("${pre_stop[@]:1}") ;;
    *) load_probe "$1" && argv=("${probe[@]:7}") ;;
  esac
}

# KIND: ask once; a result counts when there have been enough of its kind in a row.
ask_probe() {
  local answer=well needed=${probe[3]}
  if ! attempt "${probe[2]}" "${probe[@]:6}"; then
    answer=ill needed=${probe[4]}
  fi
  [[ ${result[$1]:-} == "$answer" ]] || row[$1]=0
  result[$1]=$answer
  row[$1]=$((row[$1] + 1))
  ((row[$1] >= needed)) || return 0
  case $1-$answer in
    readiness-well) tell_ready yes ;;
    readiness-ill) tell_ready '' ;;
    *-ill) condemn probe "${probe[5]}" "its $1 probe failed$(times "$needed"): $failure" ;;
  esac
}

# NUMBER
times() { (($1 == 1)) || printf ' %s times in a row' "$1"; }

# READY: tell if it has changed.
tell_ready() {
  [[ $ready != "$1" ]] || return 0
  ready=$1
  if [[ $ready ]]; then
    journal ready "$name" "instance=$instance"
  else
    journal unready "$name" "instance=$instance"
  fi
}

# CAUSE GRACE REASON: let the supervisor end the container.
condemn() {
  local verdict=$pod_folder/tmp/$name.condemned
  give_reason "$pod_folder/logs/$name.$instance.log" "$3"
  keep "$verdict.new" "$1 $2"
  mv -- "$verdict.new" "$verdict"
  exit 0
}
