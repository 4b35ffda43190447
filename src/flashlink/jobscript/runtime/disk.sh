# shellcheck shell=bash
# Limits of what a pod writes: size limits of emptyDirs, ephemeral-storage of containers and of the pod. As the kubelet, the job's
# watcher looks every few seconds and ends the whole pod: a limit is no quota.

volume_limits=()         # NAME BYTES SHOWN of each emptyDir with a size limit
disk_limits=()           # NAME BYTES SHOWN of each container with a limit
pod_disk_limit=0         # bytes of all containers and of the emptyDirs on disk
pod_disk_shown=''        # the same as people write it
disk_due=0               # by $SECONDS, when to look again
declare -A volume_size=() # bytes by name
declare -A disk_size=()  # bytes by container: its own files and its logs

# NAME BYTES SHOWN: the size limit of an emptyDir.
limit_volume() { volume_limits+=("$@"); }
# NAME BYTES SHOWN: the ephemeral-storage of a container.
limit_disk() { disk_limits+=("$@"); }
# BYTES SHOWN: that of the pod.
limit_pod_disk() { pod_disk_limit=$1 pod_disk_shown=$2; }

watch_disk() {
  ((${#volume_limits[@]} || ${#disk_limits[@]} || ${#memory_scratch[@]})) && ((SECONDS >= disk_due)) || return 0
  local began=$SECONDS
  measure_disk || return 0
  check_disk
  disk_due=$((SECONDS + 1 + 10 * (SECONDS - began))) # with very many files the look itself takes long
}

# What lies in the pod's folder, by `du`, which never leaves the file system. False if the job has gone meanwhile.
measure_disk() {
  local size path
  volume_size=() disk_size=()
  exec 5< <(du -s -x -B1 -- "$pod_folder"/volumes/*/ "$pod_folder"/tmp/* "$pod_folder"/logs/* 2>/dev/null)
  while :; do
    if read -r -t 5 -u 5 size path; then
      count_path "$size" "${path#"$pod_folder/"}"
    elif (($? > 128)); then
      kill -0 "$$" 2>/dev/null || return 1 # du may take minutes
    else
      break
    fi
  done
  exec 5<&-
  tell_memory
}

# SIZE PATH
count_path() {
  local name=${2#*/}
  case $2 in
    volumes/*) volume_size[${name%/}]=$1 ;;
    *) name=${name%%.*} disk_size[$name]=$((${disk_size[$name]:-0} + $1)) ;;
  esac
}

# The supervisors count emptyDirs in memory as memory.
tell_memory() {
  local volume
  for volume in ${memory_scratch[@]+"${memory_scratch[@]}"}; do
    printf '%s\n' "${volume_size[$volume]:-0}" >"$pod_folder/tmp/.size.$volume"
  done
}

check_disk() {
  local position name all=0
  for ((position = 0; position < ${#volume_limits[@]}; position += 3)); do
    name=${volume_limits[position]}
    if ((${volume_size[$name]:-0} > volume_limits[position + 1])); then
      evict "Usage of EmptyDir volume \"$name\" exceeds the limit \"${volume_limits[position + 2]}\""
    fi
  done
  for ((position = 0; position < ${#disk_limits[@]}; position += 3)); do
    name=${disk_limits[position]}
    if ((${disk_size[$name]:-0} > disk_limits[position + 1])); then
      evict "Container $name exceeded its local ephemeral storage limit \"${disk_limits[position + 2]}\""
    fi
  done
  for name in "${pod_names[@]}"; do
    all=$((all + ${disk_size[$name]:-0}))
  done
  for name in ${disk_scratch[@]+"${disk_scratch[@]}"}; do
    all=$((all + ${volume_size[$name]:-0}))
  done
  if ((pod_disk_limit && all > pod_disk_limit)); then
    evict "Pod ephemeral local storage usage exceeds the total limit of containers $pod_disk_shown"
  fi
}

# MESSAGE: end the pod, once.
evict() {
  [[ ! -e $pod_folder/tmp/.evicted ]] || return 0
  keep "$pod_folder/tmp/.evicted" "$1"
  kill -USR2 "$$"
}
