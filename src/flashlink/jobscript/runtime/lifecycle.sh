# shellcheck shell=bash
# How a running container is ended: its preStop hook, its signal, and SIGKILL when its grace is over.

# KIND HANDLER...: KIND is post-start or pre-stop.
with_hook() {
  case $1 in
    post-start) post_start=("${@:2}") ;;
    pre-stop) pre_stop=("${@:2}") ;;
  esac
}
# SIGNAL: by which the container is told to end.
with_stop_signal() { stop_signal=$1; }

# True if a probe or hook is a command in the container.
enters_container() {
  [[ ${post_start[0]:-} == exec || ${pre_stop[0]:-} == exec || ${startup[6]:-} == exec || ${readiness[6]:-} == exec ||
    ${liveness[6]:-} == exec ]]
}

# CAUSE: the pod, or at last a sidecar, is to end. Only this is done in a trap: when the time of the `read` in `tick` is over, which
# the trap has interrupted, bash jumps back into that `read` from any other, even in a subshell.
stop_container() { interrupted=1 stop=${stop:-$1}; }

# Between two looks at the container of $child: end it if its pod is to end or it was condemned (see `condemn`), step by step.
mind_container() {
  if [[ ! $stop && ! $condemned && -e $pod_folder/tmp/$name.condemned ]]; then
    read -r condemned condemned_grace <"$pod_folder/tmp/$name.condemned"
  fi
  local why=${stop:-$condemned}
  if [[ $why && $ending != "$why" ]]; then
    ending=$why
    begin_end "$(grace)"
  elif [[ $attempting ]]; then
    if ((SECONDS >= end_by)) || ! kill -0 "$attempting" 2>/dev/null; then
      end_pre_stop
    fi
  fi
}

# SECONDS: end the container within them. It may be on its way to its end already, with a longer time.
begin_end() {
  end_prober
  if [[ $killer ]]; then
    end_helper "$killer"
    begin_killing "$1"
  elif [[ $attempting ]] && (($1)); then
    ((SECONDS + $1 >= end_by)) || end_by=$((SECONDS + $1))
  elif [[ $attempting ]]; then
    end_attempt
    tell_end 0
  elif ((${#pre_stop[@]} && $1)); then
    end_by=$((SECONDS + $1)) asking=pre_stop
    begin_attempt "${pre_stop[@]}"
  else
    tell_end "$1"
  fi
}

# The hook is over, or its time is: what it has left of the grace is the container's, and two seconds in any case.
end_pre_stop() {
  local code left=$((end_by - SECONDS))
  if kill -0 "$attempting" 2>/dev/null; then
    end_attempt
    printf 'flashlink: container %s: its preStop hook did not end within the grace\n' "$name" >&2
  else
    await "$attempting"
    attempting=''
    ((code == 0)) || printf 'flashlink: container %s: its preStop hook failed: %s\n' "$name" "$(attempt_said "$code")" >&2
  fi
  tell_end $((left > 2 ? left : 2))
}

# SECONDS: the signal now, SIGKILL after SECONDS. As in Kubernetes, the signal goes to the container's first process alone, which
# ends the others in its own way; Apptainer passes it on.
tell_end() {
  kill -s "$stop_signal" "$child" 2>/dev/null
  begin_killing "$1"
}

# SECONDS
begin_killing() {
  kill_later "$child" "$1" 4>&- 6>&- 7>&- 8<&- &
  killer=$!
}

# PID SECONDS
kill_later() {
  sleep "$2"
  end_process "$1"
}

# PID: kill a container's first process, with all that belongs to it.
end_process() {
  if [[ $pod_runtime != host ]]; then
    # Apptainer's own process must not die before the container: it would leave the daemons of its FUSE mounts behind.
    kill_children "$1"
    sleep 2
  fi
  kill -KILL -- "-$1" 2>/dev/null
}

# Seconds for the container to end in: none when the pod is evicted; of a sidecar what the others have left; those of the probe
# that condemned it.
grace() {
  job_lives || { printf 0 && return; }
  case $stop in
    evicted) printf 0 ;;
    finished) cat -- "$pod_folder/tmp/.left" ;;
    '') printf '%s' "${condemned_grace:-$pod_grace}" ;;
    *) given_grace ;;
  esac
}

# The pod's grace, unless the plugin has left that of a delete.
given_grace() {
  local seconds=''
  read -r seconds 2>/dev/null <"$pod_folder/grace"
  [[ $seconds =~ ^[0-9]{1,10}$ ]] || seconds=$pod_grace
  printf '%s' "$seconds"
}

# PID: all its children but our own shells.
kill_children() {
  local entry line parent
  for entry in /proc/[0-9]*; do
    read -r line 2>/dev/null <"$entry/stat" || continue
    read -r _ parent _ <<<"${line##*) }"
    if [[ $parent == "$1" && $entry != "/proc/$$" && $entry != "/proc/$BASHPID" ]]; then
      kill -KILL "${entry#/proc/}" 2>/dev/null
    fi
  done
}

end_prober() {
  local code
  [[ $prober ]] || return 0
  kill -TERM "$prober" 2>/dev/null
  await "$prober"
  prober=''
}
