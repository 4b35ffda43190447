# shellcheck shell=bash
# Lines of the pod's author that run on this machine before the containers. What they export reaches the container runtime, and
# a mesh network is a namespace that they make. So they run in a shell of their own, which in the end becomes this script
# again, "beyond" them, perhaps inside of that namespace. The shell before them keeps watch and cleans up.

pre_exec_lines=''
pre_exec_mesh='' # the script that gets the rest of the job as its arguments
pre_exec_ip=''
beyond=''        # the process that runs the lines, or is beyond them
main_shell=''    # for the script that is beyond them: the job's

# LINES MESH IP
pre_exec() { pre_exec_lines=$1 pre_exec_mesh=$2 pre_exec_ip=$3; }

has_pre_exec() { [[ $pre_exec_lines || $pre_exec_mesh ]]; }

# Run the lines, and by them the pod.
run_beyond() {
  local place=$pod_folder/tmp/.pre-exec code name instance
  [[ $pod_script != *[[:space:]]* || ! $pre_exec_mesh ]] || abandon "a mesh network takes no path with blanks: $pod_script"
  write_lines "$place" || abandon 'cannot write the pre-exec lines'
  (become_lines "$place") </dev/null 4>&- 9<&- &
  beyond=$!
  await_beyond
  if [[ -s $place/exit ]]; then
    read -r pod_exit <"$place/exit"
    return
  fi
  if [[ ! $stop && ! -e $place/process ]]; then
    abandon "its pre-exec lines ended with $code before the containers could start; they said: $(last_lines "$place/said" nothing)"
  fi
  pod_exit=137 # somebody killed it
  for name in "${pod_names[@]}"; do
    if [[ ! -e $pod_folder/tmp/$name.ended ]]; then
      find_instance
      journal ended "$name" "instance=$((instance ? instance - 1 : 0))" "exit=$pod_exit" "cause=${stop:-runtime}"
    fi
  done
}

# FOLDER
write_lines() {
  mkdir -p -- "$1/mesh" || return
  printf '%s\n' "$pre_exec_lines" >"$1/lines" && printf '%s\n' "$pre_exec_mesh" >"$1/mesh.sh"
}

# FOLDER: become the lines. 7 and 8 are what the script beyond them takes for its output again.
become_lines() {
  export TMPDIR=$1 SLIRP_TMPDIR=$1/mesh FLASHLINK_BEYOND=$1 FLASHLINK_BEFORE=$$
  [[ ! $pre_exec_ip ]] || export POD_IP=$pre_exec_ip
  cd -- "$1" || exit
  exec 7>&1 8>&2
  exec > >(exec tee -- said >&8) 2>&1
  "$BASH" -n ./lines || exit
  # shellcheck disable=SC2016 # for the shell that it is
  local -a command=("$BASH" -c '. ./lines; exec "$@"' pre-exec)
  if [[ $pre_exec_mesh ]]; then
    command+=("$BASH" "$1/mesh.sh")
  fi
  exec "${command[@]}" "$BASH" "$pod_script" --beyond
}

# The pod itself, after its lines: all but what the shell before them does.
live_beyond() {
  exec 1>&7 2>&8 7>&- 8>&-
  main_shell=$FLASHLINK_BEFORE
  export -n FLASHLINK_BEYOND FLASHLINK_BEFORE
  trap 'finish_beyond "$?"' EXIT
  printf '%s\n' "$$" >"$FLASHLINK_BEYOND/process"
  cd / || abandon 'cannot leave its folder'
  live
  exit "$pod_exit"
}

# STATUS
finish_beyond() {
  end_all
  insist_on_journal
  printf '%s\n' "$1" >"$FLASHLINK_BEYOND/exit.new"
  mv -- "$FLASHLINK_BEYOND/exit.new" "$FLASHLINK_BEYOND/exit"
  exit "$1"
}

# Wait for its end, and pass on why it is to end. Not by the trap, for the reason that `await_container` has.
await_beyond() {
  local told=''
  while kill -0 "$beyond" 2>/dev/null; do
    tick 0.05
    if [[ $stop && ! $told ]]; then
      told=1
      stop_beyond
    fi
  done
  await "$beyond"
}

# The pod, or the lines before it, is to end because of $stop.
stop_beyond() {
  local process='' signal=TERM
  case $stop in
    deadline) signal=USR1 ;;
    evicted) signal=USR2 ;;
  esac
  read -r process 2>/dev/null <"$pod_folder/tmp/.pre-exec/process"
  if [[ $process ]]; then
    kill "-$signal" "$process" 2>/dev/null
  else
    kill -TERM -- "-$beyond" 2>/dev/null
  fi
}
