# shellcheck shell=bash
# The life of a pod: prepare, init containers in order, containers side by side, clean up at every end.
#
# The generated part of the script declares the pod with `pod`, `volumes`, `init_container`, `sidecar` and `container`, then calls
# `run_pod`. Needs bash 4.2 and coreutils; host processes with volumes, and commands of probes and hooks, also need util-linux.

job_locale=${LC_ALL-}
export LC_ALL=C # every value is bytes
umask 077
shopt -s execfail

pod_names=()     # of all containers, init containers first
pod_functions=() # the function that declares each
pod_inits=0      # how many of them are init containers
pod_options=()   # further options of the container runtime
pod_path=''      # what host processes get as PATH

supervisors=()
stop=''        # why the pod is ended early: cancelled, deadline or evicted
ended_at=''    # when that was, by $SECONDS
interrupted='' # a trap has run while we waited
pod_began=''   # the time, when the journal says that the job has started

# UID FOLDER RUNTIME EXECUTABLE GRACE DEADLINE
#
# A batch system whose workers do not see FOLDER says in FLASHLINK_FOLDER which folder the pod has in its place.
pod() {
  pod_uid=$1 pod_planned=$2 pod_folder=${FLASHLINK_FOLDER:-$2} pod_runtime=$3 pod_executable=$4 pod_grace=$5 pod_deadline=$6
  pod_memory=/dev/shm/flashlink-$pod_uid
  unset FLASHLINK_FOLDER # it is this pod's alone
}

# PATH: what stands for it on this worker, in $placed.
place() {
  placed=$1
  [[ $1 != "$pod_planned"/* ]] || placed=$pod_folder${1#"$pod_planned"}
}

runtime_options() { pod_options=("$@"); }

# Folders to put before PATH of host processes.
process_path() {
  local IFS=:
  pod_path="$*:$PATH"
}

# NAME FUNCTION
init_container() {
  container "$@"
  pod_inits=$((pod_inits + 1))
}

# NAME FUNCTION
container() {
  pod_names+=("$1")
  pod_functions+=("$2")
}

# [--in-namespace INDEX LOG PROBE | --beyond]: how `start_process` comes back inside a mount namespace, and how the lines of the pod's
# author come back when they are through.
run_pod() {
  pod_path=${pod_path:-$PATH}
  pod_script=$0
  [[ $pod_script == /* ]] || pod_script=$PWD/$pod_script
  if [[ ${1-} == --in-namespace ]]; then
    enter_namespace "$2" "$3" "$4"
  fi
  export FLASHLINK_POD=$pod_uid
  set -m # each background job is a process group of its own, and SIGINT is not ignored in it
  trap 'finish "$?"' EXIT
  trap 'stop_pod cancelled TERM' TERM INT HUP
  trap 'stop_pod deadline USR1' USR1
  trap 'stop_pod evicted USR2' USR2
  exec 4<> <(:) 9<> <(:) # pipes of our own, see `tell_main` and `tick`
  [[ ${1-} != --beyond ]] || live_beyond
  prepare || abandon 'cannot prepare the folder of the pod'
  if has_pre_exec; then
    run_beyond
  else
    live
  fi
  exit "$pod_exit"
}

# The containers, and what they need of this machine.
live() {
  find_oom_counter
  mount_volumes
  run_inits && run_containers
  end_sidecars
}

prepare() {
  local now
  remove_scratch
  [[ ! -e $pod_folder/volumes && ! -e $pod_folder/tmp ]] || return
  mkdir -p -- "$pod_folder/logs" "$pod_folder/volumes" "$pod_folder/tmp" || return
  make_reserve || return
  clock
  pod_began=$now
  journal job-started - "node=${HOSTNAME//[!A-Za-z0-9.-]/}" "pid=$$"
  start_reporter || return
  volumes || return
  start_watcher
}

pod_exit=0

run_inits() {
  local index
  for ((index = 0; index < pod_inits; index++)); do
    fetch_image "$index"
    start_supervisor "$index"
    if is_sidecar "$index"; then
      await_started "$index"
      continue
    fi
    collect "$index"
    if ((pod_exit)); then
      skip_from $((index + 1)) "${pod_names[index]}"
      return 1
    fi
  done
}

run_containers() {
  local index
  for ((index = pod_inits; index < ${#pod_names[@]}; index++)); do
    fetch_image "$index"
  done
  for ((index = pod_inits; index < ${#pod_names[@]}; index++)); do
    start_supervisor "$index"
  done
  for ((index = pod_inits; index < ${#pod_names[@]}; index++)); do
    collect "$index"
  done
}

# INDEX
start_supervisor() {
  if [[ $stop ]]; then
    supervisors[$1]=''
    return
  fi
  supervise "$1" &
  supervisors[$1]=$!
  # A signal between the fork and this line has not reached the new one.
  if [[ $stop ]]; then
    kill -TERM "$!" 2>/dev/null
  fi
}

# INDEX: wait for the container's supervisor; the first code that is not 0 becomes the job's, but for those of sidecars.
collect() {
  local name=${pod_names[$1]} code=143 instance
  if [[ ${supervisors[$1]} ]]; then
    await "${supervisors[$1]}"
    supervisors[$1]=''
    take_words
    if [[ ! ${settled[$name]:-} ]]; then # it died itself, so it could not tell
      end_orphan "$name"
      ((code)) || code=137
      find_instance
      journal ended "$name" "instance=$((instance ? instance - 1 : 0))" "exit=$code" "cause=${stop:-runtime}"
    fi
  else
    find_instance
    journal ended "$name" "instance=$instance" "exit=$code" cause=not-started
  fi
  if ((pod_exit == 0)) && ! is_sidecar "$1"; then
    pod_exit=$code
  fi
}

# INDEX INIT: the container at INDEX and all later ones do not start because INIT failed.
skip_from() {
  local index
  for ((index = $1; index < ${#pod_names[@]}; index++)); do
    journal skipped "${pod_names[index]}" cause=init-failed "init=$2"
  done
}

# CAUSE SIGNAL: pass the signal to all supervisors; each ends its container within the pod's grace. Sidecars end when all others
# have ended.
stop_pod() {
  interrupted=1
  [[ ! $stop ]] || return 0
  stop=$1 ended_at=${ended_at:-$SECONDS}
  local index
  for index in ${supervisors[@]+"${!supervisors[@]}"}; do
    if [[ ${supervisors[index]} && (! ${pod_sidecars[index]:-} || $ending_sidecars) ]]; then
      kill "-$2" "${supervisors[index]}" 2>/dev/null
    fi
  done
  if [[ ${fetching:-} ]]; then
    kill -TERM -- "-$fetching" 2>/dev/null
  fi
}

# MESSAGE: nothing can run.
abandon() {
  printf 'flashlink: %s\n' "$1" >&2
  local name instance
  for name in "${pod_names[@]}"; do
    find_instance
    give_reason "$pod_folder/logs/$name.$instance.log" "$1"
    journal ended "$name" "instance=$instance" exit=128 cause=runtime
  done
  exit 128
}

# STATUS: the last thing that happens, at every end.
finish() {
  end_all
  kill_group "${watcher:-}"
  watcher=''
  kill_tagged
  leave_folder
  journal job-ended - "exit=$1" "pid=$$"
  insist_on_journal
  report_end
  exit "$1"
}

# What runs or is mounted, in the order in which it needs each other.
end_all() {
  local code pid
  trap '' TERM INT HUP USR1 USR2
  for pid in ${supervisors[@]+"${supervisors[@]}"}; do
    if [[ $pid ]]; then
      kill -TERM "$pid" 2>/dev/null
      await "$pid"
    fi
  done
  take_words
  unmount_volumes
}

# [PID]: kill one of our own background jobs.
kill_group() {
  if [[ ${1-} ]]; then
    kill -KILL -- "-$1" 2>/dev/null
  fi
}

# Remove what is this run's. A node that was taken for dead may come back when the batch system has started the job elsewhere: what
# lies in the folder is that run's then.
leave_folder() {
  local line last='' last_time
  while IFS= read -r line; do
    [[ $line != *$'\tjob-started\t'* ]] || last=$line
  done 2>/dev/null <"$pod_folder/journal"
  last_time=${last%%.*}
  if [[ $pod_began && $last_time && $last_time != *[!0-9]* ]] && ((last_time > ${pod_began%%.*})); then
    [[ $last == *$'\t'"node=${HOSTNAME//[!A-Za-z0-9.-]/}"$'\t'* ]] || remove_tree "$pod_memory"
    return
  fi
  remove_scratch
}

# Volumes and scratch, whatever modes the containers gave their folders.
remove_scratch() {
  local place
  for place in "$pod_folder/volumes" "$pod_folder/tmp" "$pod_memory"; do
    remove_tree "$place"
  done
}

# PLACE: remove what is there, with what lies in it on the same file system; nothing is fine.
remove_tree() {
  [[ -e $1 || -L $1 ]] || return 0
  rm -rf --one-file-system -- "$1" 2>/dev/null && return
  [[ -L $1 ]] || chmod -R u+rwX -- "$1" 2>/dev/null
  rm -rf --one-file-system -- "$1" 2>/dev/null && return
  # A container by --fakeroot can give folders to others: the subordinate ids of the job's account.
  unshare --user --map-root-user --map-auto -- rm -rf --one-file-system -- "$1" 2>/dev/null
  rm -rf --one-file-system -- "$1"
}

# Kill what left its container's process group but still carries the pod's mark in its environment; and the children of such
# processes, since the FUSE daemons of Apptainer do not carry it.
kill_tagged() {
  local pid found round
  local -a tagged
  for round in 1 2 3 4 5; do # it may fork while we look
    found=''
    find_tagged
    for pid in ${tagged[@]+"${tagged[@]}"}; do
      [[ -O /proc/$pid && $pid != "$$" && $pid != "$BASHPID" ]] || continue
      kill_children "$pid"
      kill -KILL "$pid" 2>/dev/null
      found=1
    done
    [[ $found ]] || return 0
    sleep "0.0$round"
  done
}

# The processes of this machine that carry the pod's mark, in `tagged`. grep reads environments a dozen times as quickly as bash;
# where there is no grep, or there are too many for it, bash reads them.
find_tagged() {
  local entry names IFS=$'\n'
  local -a entries=(/proc/[0-9]*/environ) # before the fork of grep, which carries the mark as well
  tagged=()
  names=$(LC_ALL=C grep -lszFx -e "FLASHLINK_POD=$pod_uid" "${entries[@]}" 2>/dev/null)
  if (($? > 2)); then
    names=$(for entry in "${entries[@]}"; do if carries_mark "${entry//[!0-9]/}"; then echo "$entry"; fi; done)
  fi
  for entry in $names; do
    tagged+=("${entry//[!0-9]/}")
  done
}
