# shellcheck shell=bash
# One container: what it is (declared by a generated function) and the shell that supervises it.

# FOLDER
with_workdir() { workdir=$1; }
# The command line; without it the image's own entry point runs.
with_argv() { argv=("$@"); }
# Arguments for the image's own entry point.
with_args() { args=("$@"); }
# NAME VALUE
with_env() { env+=("$1" "$2"); }
# SOURCE TARGET MODE KIND ROOT: MODE is ro or rw; KIND is volume or what a hostPath must be; SOURCE is in ROOT.
with_bind() {
  local placed source
  place "$1"
  source=$placed
  place "$5"
  binds+=("$source" "$2" "$3" "$4" "$placed")
}

# INDEX: call the generated function in a clean slate.
declare_container() {
  name=${pod_names[$1]} script='' image='' gpu='' workdir='' root=disk fake_root='' restart=Never stop_signal=TERM
  argv=() args=() env=() binds=() identity=() fetch_options=() fuses=() restart_rules=()
  memory_limit=0 memory_volumes=() message_path=/dev/termination-log message_from_logs=''
  startup=() readiness=() liveness=() post_start=() pre_stop=()
  "${pod_functions[$1]}"
}

# PID: wait until it has ended, whatever signals come meanwhile; its exit status in $code.
await() {
  local pause looks_at_once since=$SECONDS
  # Not by `wait` alone: bash loses the end of a child when a trap interrupts `wait` at that very moment.
  while kill -0 "$1" 2>/dev/null; do
    pace "$since"
    tick "$pause"
    tend_job
  done
  while :; do
    interrupted=''
    wait "$1" 2>/dev/null # or bash tells of its end
    code=$?
    [[ $interrupted ]] || return 0
  done
}

# PID: end a background job of ours and what it has started.
end_helper() {
  local code
  kill_group "$1"
  await "$1"
}

# SINCE: how long to wait between two looks at what runs since then, in $pause, and what such a look counts for in $looks_at_once.
# Most jobs run for long, and two hundred on a node that look twenty times a second take two of its cores.
pace() {
  pause=0.05 looks_at_once=1
  ((SECONDS - $1 < 10)) || pause=0.25 looks_at_once=5
}

# SECONDS: pause without a process; nothing ever comes from descriptor 9 (see `run_pod`).
tick() { read -r -t "$1" -u 9; }

# INDEX: run the container, again and again if the restart policy says so. Runs in a subshell of its own.
supervise() {
  local index=$1 supervisor=$BASHPID instance delay=0 code cause again began unready
  local child prober killer ending condemned condemned_grace first attempting asking end_by message_linked
  stop='' beside=() unwritten=''
  trap 'stop_container cancelled' TERM
  trap 'stop_container deadline' USR1
  trap 'stop_container evicted' USR2
  trap 'stop_container finished' HUP
  trap - EXIT INT
  set -m
  declare_container "$index"
  find_instance
  while :; do
    began=$SECONDS
    start_instance
    await_container
    end_instance
    [[ $again ]] || break
    back_off
    [[ ! $stop ]] || break
    instance=$((instance + 1))
  done
  settle
  exit "$code"
}

# The number of the next instance, in $instance. A job that the batch system starts anew counts on.
find_instance() {
  local entry
  instance=0
  for entry in "$pod_folder/logs/$name".*.log; do
    entry=${entry%.log} entry=${entry##*.}
    [[ $entry == *[!0-9]* ]] || ((entry < instance)) || instance=$((entry + 1))
  done
}

start_instance() {
  prober='' killer='' ending='' condemned='' condemned_grace='' first='' attempting='' unready=''
  oom='' memory_used=0 beside=()
  ! starts_unready || unready=1
  remove_tree "$pod_folder/tmp/$name" # of the instance before
  if [[ $pod_runtime == host ]]; then
    mkdir -p -- "$pod_folder/tmp/$name"
  else
    # shellcheck disable=SC2174 # what is above is the job's alone
    mkdir -p -m 0755 -- "$pod_folder/tmp/$name/message" "$pod_folder/tmp/$name/home" "$pod_folder/tmp/$name/root"
  fi
  tell_inits
  journal started "$name" "instance=$instance" ${unready:+ready=no}
  forget_log $((instance - 2))
  open_log "$pod_folder/logs/$name.$instance.log"
  await_message_link
  read_oom_kills && oom_before=$oom_kills
  launch "$index" "$log" &
  child=$!
  tell_main leader "$name" "$child"
  if needs_prober; then
    start_prober
  else
    : >"$pod_folder/tmp/$name.up"
  fi
}

# Wait for the container's first process.
await_container() {
  local pause looks_at_once
  while kill -0 "$child" 2>/dev/null; do
    pace "$((${#ending} ? SECONDS : began))"
    if [[ $message_linked ]]; then
      tick "$pause"
    else
      tick_until_up "$pause"
    fi
    watch_instance
    mind_container
  done
  await "$child"
}

# The first process has ended: so does the container, as when process 1 of a namespace ends.
end_instance() {
  job_lives || stop=${stop:-cancelled}
  kill_group "$child"
  ((code <= 128)) || end_beside
  [[ ! $killer ]] || end_helper "$killer"
  [[ ! $attempting ]] || end_attempt
  end_prober
  close_log
  judge_fuses
  cause=exited
  ((code <= 128 || code > 192)) || cause=signal # there are 64
  [[ $stop || $pod_runtime == host ]] || judge_start
  if [[ -e $pod_folder/tmp/$name.failed ]]; then
    rm -f -- "$pod_folder/tmp/$name.failed"
    cause=runtime
  fi
  ((code != 137)) || [[ $stop || $oom ]] || ask_kernel
  if [[ $oom && ! $stop ]]; then
    condemned=''
    cause=oom code=137
    give_reason "$log" "$oom"
  fi
  cause=${stop:-${condemned:-$cause}}
  rm -f -- "$pod_folder/tmp/$name.condemned"
  if [[ ($cause == deadline || $cause == evicted) && $code == 0 ]]; then
    code=143 # such a pod has failed, however well it took SIGTERM
  fi
  if [[ $cause == evicted ]]; then
    give_reason "$pod_folder/logs/$name.$instance.log" "$(<"$pod_folder/tmp/.evicted")"
  fi
  leave_message
  again=''
  ! wants_restart || again=1
  journal ended "$name" "instance=$instance" "exit=$code" "cause=$cause" ${again:+again=yes}
}

# Called while the container runs. `looks` goes up by twenty a second, whatever the pace; at the slower one it is a multiple of
# five. What is worth a look less often is looked at less often.
watch_instance() {
  looks=$(((looks / looks_at_once + 1) * looks_at_once))
  keep_log_flowing
  note_log
  ((looks % 5)) || note_beside
  ((looks % 20)) || write_journal
  watch_memory
  ((looks % 20)) || mind_prober
  [[ $stop ]] || job_lives || stop_container cancelled
}

# INDEX LOG: become the container. Standard error is the job's until the last moment: what we say is not in the log.
launch() {
  container_log=$2
  exec </dev/null >/proc/self/fd/7 3>&- 4>&- 5>&- 6>&- 7>&- 8<&- 9<&- || refuse "cannot write the log $2"
  check_identity
  [[ -d $pod_folder/tmp/$name ]] || refuse 'cannot make its scratch folder'
  umask 022
  check_sources
  [[ ! $script ]] || start_script
  if [[ $pod_runtime == host ]]; then
    start_process "$1"
  fi
  start_apptainer
}

# MESSAGE [STATUS]: the container cannot start; said in the job's own log and to the plugin, never in the container's log. Or, on
# trial, what a probe or hook asks for cannot be done.
refuse() {
  [[ ! ${trial:-} ]] || fail "$1"
  printf 'flashlink: container %s: %s\n' "$name" "$1" >&2
  give_reason "$container_log" "$1"
  : >"$pod_folder/tmp/$name.failed"
  exit "${2:-128}"
}

# LOG MESSAGE: leave beside a container's log why flashlink ended it, for the plugin; before the journal tells the end.
give_reason() { keep "${1%.log}.reason" "${2:0:1000}"; }

# FILE OTHERWISE: the last lines of FILE as one, or OTHERWISE.
last_lines() {
  local line said=''
  while IFS= read -r line || [[ $line ]]; do
    said+="${said:+; }$line"
  done < <(tail -n 3 -- "$1" 2>/dev/null)
  printf '%s' "${said:-$2}"
}

# Every source of a mount is what it must be, and no link has led it out of what the pod was granted.
check_sources() {
  local position source kind root
  for ((position = 0; position < ${#binds[@]}; position += 5)); do
    source=${binds[position]} kind=${binds[position + 3]} root=${binds[position + 4]}
    # The slash makes an automounter mount it.
    if [[ $kind == cvmfs && ! -d $root/ ]]; then
      refuse "CVMFS has no repository ${root##*/} on this machine: there is no folder $root"
    fi
    if [[ $root == "$pod_folder/fuse/"* && ! -d $root ]]; then
      refuse "volume ${root##*/} is not mounted any more: its script has ended"
    fi
    check_inside "$source" "$root"
    case $kind in
      volume) [[ -e $source || ! -d $root ]] || mkdir -p -- "$source" ;;
      DirectoryOrCreate) mkdir -p -- "$source" ;;
      FileOrCreate) [[ -e $source ]] || : >"$source" ;;
    esac 2>/dev/null
    case $kind in
      Directory*) [[ -d $source ]] || refuse "$source is not a folder of this machine" ;;
      File*) [[ -f $source ]] || refuse "$source is not a file of this machine" ;;
      *) [[ -e $source ]] || refuse "$source does not exist on this machine" ;;
    esac
  done
}

# PATH ROOT
check_inside() {
  local real root
  if [[ $1 == "$2" ]]; then # as it mostly is, no process need look
    [[ -e $2 ]] || refuse "$2 does not exist on this machine"
    return
  fi
  root=$(realpath -e -- "$2" 2>/dev/null) || refuse "$2 does not exist on this machine"
  real=$(realpath -m -- "$1")
  [[ $real/ == "${root%/}"/* ]] || refuse "$1 leads out of $2"
}
