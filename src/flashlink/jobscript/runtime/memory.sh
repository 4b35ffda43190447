# shellcheck shell=bash
# The memory limits of containers (docs/decisions/009). A container's supervisor adds up what its processes use, as batch systems
# do, and ends it when that is more than its limit. What the kernel ends for want of memory is recognised.

memory_page='' # bytes of a page of memory
oom_counter='' # the file that counts what the kernel killed in the job's cgroup, if that is the job's alone
oom_kills=0    # as last read there
oom_before=0   # and the time before

# BYTES SHOWN [VOLUME]...: the limit, also as people write it; and the emptyDirs in memory that count as the container's.
with_memory() { memory_limit=$1 memory_shown=$2 memory_volumes=("${@:3}"); }

# Each second; four times a second when half of the limit is used.
watch_memory() {
  ((looks % 20)) || read_oom_kills
  ((memory_limit && (looks % 20 == 0 || (looks % 5 == 0 && memory_used * 2 > memory_limit)))) || return 0
  local volumes=0 root
  local -a pids=()
  find_processes
  ((${#pids[@]})) || return 0
  size_of_volumes
  add_resident
  ((memory_used <= memory_limit)) || add_proportional
  ((memory_used > memory_limit)) || return 0
  oom="OOMKilled: used $((memory_used >> 20))Mi of $memory_shown"
  kill -KILL "$root" "${pids[@]}" 2>/dev/null
}

# The container's processes in $pids, and that with which all end in $root. What Apptainer itself runs is not the container's:
# its own process, the FUSE daemons beside, and process 1 of the container, which waits for the others.
find_processes() {
  local position kid command
  local -a kids
  root=$child
  if [[ $pod_runtime == host ]]; then
    pids=("$child")
  else
    find_children "$child"
    for kid in ${kids[@]+"${kids[@]}"}; do
      [[ /proc/$kid/ns/pid -ef /proc/self/ns/pid ]] || root=$kid
    done
    [[ $root != "$child" ]] || return 0
    read -r command 2>/dev/null <"/proc/$root/comm" || return 0
    if [[ $command == appinit || $command == sinit ]] || is_apptainers "$root"; then
      find_children "$root"
      for kid in ${kids[@]+"${kids[@]}"}; do
        is_apptainers "$kid" || pids+=("$kid")
      done
    else
      pids=("$root")
    fi
  fi
  for ((position = 0; position < ${#pids[@]}; position++)); do
    find_children "${pids[position]}"
    pids+=(${kids[@]+"${kids[@]}"})
  done
}

# PID: true if it still is a process of Apptainer, which has yet to become the container's program.
is_apptainers() { [[ /proc/$1/exe -ef /proc/$child/exe ]]; }

# PID: its children in $kids; each of its threads may have some.
find_children() {
  local task
  local -a some
  kids=()
  for task in "/proc/$1/task"/*/children; do
    read -r -a some 2>/dev/null <"$task"
    kids+=(${some[@]+"${some[@]}"})
  done
}

# What is resident, in $memory_used: quickly had, but what processes share counts for each of them.
add_resident() {
  local pid pages
  [[ $memory_page ]] || find_page
  memory_used=0
  for pid in "${pids[@]}"; do
    read -r _ pages _ 2>/dev/null <"/proc/$pid/statm" && memory_used=$((memory_used + pages * memory_page))
  done
  memory_used=$((memory_used + volumes))
}

find_page() {
  local key size
  memory_page=4096
  while read -r key size _; do
    if [[ $key == KernelPageSize: ]]; then
      memory_page=$((size * 1024))
      return
    fi
  done </proc/self/smaps
}

# The same, what is shared shared out. Files of memory volumes count once, mapped or not. Where the kernel does not tell
# (before 4.14), it stays at what is resident.
add_proportional() {
  local pid key size all=0 files=0
  for pid in "${pids[@]}"; do
    [[ -r /proc/$pid/smaps_rollup ]] || return 0
    while read -r key size _; do
      case $key in
        Pss:) all=$((all + size * 1024)) ;;
        Pss_Shmem:) files=$((files + size * 1024)) ;;
      esac
    done 2>/dev/null <"/proc/$pid/smaps_rollup"
  done
  memory_used=$((all - files + (files > volumes ? files : volumes)))
}

# What the container's emptyDirs in memory hold, in $volumes, as the watcher has last seen it.
size_of_volumes() {
  local volume size
  for volume in ${memory_volumes[@]+"${memory_volumes[@]}"}; do
    read -r size 2>/dev/null <"$pod_folder/tmp/.size.$volume" && volumes=$((volumes + size))
  done
}

# If the job has a cgroup of its own, the kernel counts there what it kills for want of memory.
find_oom_counter() {
  local controllers path folder pid
  while IFS=: read -r _ controllers path; do
    case ,$controllers, in
      ,,) folder=/sys/fs/cgroup$path/memory.events ;;
      *,memory,*) folder=/sys/fs/cgroup/memory$path/memory.oom_control ;;
      *) continue ;;
    esac
    [[ ! -r $folder ]] || oom_counter=$folder
  done </proc/self/cgroup
  [[ $oom_counter ]] || return 0
  while read -r pid; do
    is_of_job "$pid" && continue
    oom_counter=''
    return
  done <"${oom_counter%/*}/cgroup.procs"
}

# PID: true if it is the job's main shell, or descends from it; beyond lines of pre-exec that shell is before them. Also true of
# a process that has ended meanwhile.
is_of_job() {
  local pid=$1 line
  while [[ $pid != "${main_shell:-$$}" ]]; do
    if ! read -r line 2>/dev/null <"/proc/$pid/stat"; then
      [[ ! -e /proc/$pid ]]
      return
    fi
    read -r _ pid _ <<<"${line##*) }"
    ((pid > 1)) || return 1
  done
}

read_oom_kills() {
  local key count
  [[ $oom_counter ]] || return 0
  oom_before=$oom_kills
  while read -r key count; do
    [[ $key != oom_kill ]] || oom_kills=$count
  done <"$oom_counter"
} 2>/dev/null

# A container was killed: was it the kernel, for want of memory? The last reading may already count this one, but not the one
# before that: since then it was seen alive.
ask_kernel() {
  local before=$oom_before most='' folder=${oom_counter%/*}
  read_oom_kills
  ((oom_kills > before)) || return 0
  read -r most <"$folder/memory.max" || read -r most <"$folder/memory.limit_in_bytes"
  oom='OOMKilled: the kernel ended it, as there was no more memory'
  [[ $most == *[!0-9]* ]] || oom+=" for the job, which may use $((most >> 20))Mi"
} 2>/dev/null
