# shellcheck shell=bash
# File systems that a pod's own scripts mount by FUSE: on this machine, each once for the whole pod, or inside of each
# container, with what its image has. A script finds MOUNT_POINT (also as $1), SUB_PATH and CACHEDIR, and blocks.

fuse_seconds=0    # how long a mount may take to appear, and a script to end after the unmount
fuse_volumes=()   # NAME SUB_PATH SCRIPT of each that is mounted on this machine
fuse_processes=() # what runs their scripts

# SECONDS
fuse_limit() { fuse_seconds=$1; }
# NAME SUB_PATH SCRIPT: mounted on this machine, at fuse/NAME in the pod's folder.
volume_fuse() { fuse_volumes+=("$1" "$2" "$3"); }

mount_volumes() {
  local position
  for ((position = 0; position < ${#fuse_volumes[@]}; position += 3)); do
    start_mount "${fuse_volumes[@]:position:3}" || abandon "volume ${fuse_volumes[position]} has no place to be mounted at"
  done
  for ((position = 0; position < ${#fuse_volumes[@]}; position += 3)); do
    await_mount "${fuse_volumes[position]}" "${fuse_processes[position / 3]}"
  done
}

# NAME SUB_PATH SCRIPT. The script is a file, as it may hold keys that must not be on a command line.
start_mount() {
  local place=$pod_folder/fuse/$1 scratch=$pod_folder/tmp/.fuse/$1
  ! is_mounted "$place" || unmount "$place" # of a job before, that was killed
  mkdir -p -- "$place" "$scratch/cache" && printf '%s\n' "$3" >"$scratch/script" && chmod 0700 "$scratch/script" || return
  (
    export MOUNT_POINT=$place SUB_PATH=$2 CACHEDIR=$scratch/cache
    cd -- "$scratch/cache" || exit
    [[ $3 != '#!'* ]] || exec env "PATH=$pod_path" "$scratch/script" "$place"
    exec env "PATH=$pod_path" "$BASH" -- "$scratch/script" "$place"
  ) </dev/null >"$scratch/said" 2>&1 4>&- 9<&- &
  fuse_processes+=("$!")
}

# NAME PROCESS: until what is mounted there answers; else nothing can run.
await_mount() {
  local place=$pod_folder/fuse/$1 until=$((SECONDS + fuse_seconds)) code
  while [[ ! $stop ]]; do
    if is_mounted "$place" && timeout "$fuse_seconds" stat -- "$place/." >/dev/null 2>&1; then
      return 0
    elif ! kill -0 "$2" 2>/dev/null; then
      await "$2"
      is_mounted "$place" || abandon "$(mount_failure "$1" "its script ended with $code" "$pod_folder/tmp/.fuse/$1/said")"
    fi
    if ((SECONDS >= until)); then
      abandon "$(mount_failure "$1" "nothing was mounted in $fuse_seconds s" "$pod_folder/tmp/.fuse/$1/said")"
    fi
    tick 0.02
  done
}

# NAME WHY FILE: one line, with the last that the script said, which FILE has.
mount_failure() { printf 'volume %s could not be mounted: %s; it said: %s' "$1" "$2" "$(last_lines "$3" nothing)"; }

# PATH: true if something is mounted there, dead or alive.
is_mounted() {
  local -a mounts
  local path
  path=$(realpath -m -- "${1%/*}")/${1##*/} # not the mount point itself, which may be dead
  path=${path//\\/\\134}
  path=${path//$'\n'/\\012}
  path=${path//$'\t'/\\011}
  path=${path// /\\040}
  mapfile -t mounts </proc/self/mountinfo
  [[ "${mounts[*]}" == *" $path "* ]]
}

# PATH: in the way that keeps no one waiting if it is in use.
unmount() {
  fusermount3 -u -- "$1" || fusermount -u -- "$1" || umount -- "$1" || fusermount3 -u -z -- "$1" || umount -l -- "$1"
} >/dev/null 2>&1

# The last mount first. A file system may have to write what it keeps before its script ends: it gets time for that.
unmount_volumes() {
  local position name place process
  for ((position = ${#fuse_volumes[@]} - 3; position >= 0; position -= 3)); do
    name=${fuse_volumes[position]} process=${fuse_processes[position / 3]:-}
    place=$pod_folder/fuse/$name
    if is_mounted "$place" && ! unmount "$place"; then
      printf 'flashlink: volume %s: cannot be unmounted from %s\n' "$name" "$place" >&2
    elif [[ $process ]]; then
      end_script "$process"
      kill_group "$process"
      relay "$name" "$pod_folder/tmp/.fuse/$name/said"
    fi
    rmdir -- "$place" 2>/dev/null
  done
  rmdir -- "$pod_folder/fuse" 2>/dev/null
}

# PROCESS: nothing is mounted by it any more, so it ends by itself or is ended.
end_script() {
  local until=$((SECONDS + fuse_seconds))
  [[ ! $stop ]] || until=$((SECONDS + 5)) # somebody waits for the end
  while kill -0 "$1" 2>/dev/null && ((SECONDS < until)); do
    tick 0.02
  done
  kill -TERM -- "-$1" 2>/dev/null
  until=$((SECONDS + 3))
  while kill -0 -- "-$1" 2>/dev/null && ((SECONDS < until)); do
    tick 0.02
  done
}

# NAME FILE: what a script said goes to the job's own log, as far as anybody would read it.
relay() {
  local line
  [[ -f $2 && ! -L $2 ]] || return 0
  while IFS= read -r line || [[ $line ]]; do
    printf 'flashlink: volume %s: %s\n' "$1" "$line"
  done < <(head -c 100000 -- "$2") >&2
}

# Inside of containers.

# NAME TARGET SUB_PATH SCRIPT
with_fuse() { fuses+=("$1" "$2" "$3" "$4"); }

# Let Apptainer make the mounts, of which each script gets the open end as a path, and a small script wait until they answer;
# all in $scratch/fuse, which the container sees as /.flashlink. Adds to $options and puts that script before $argv.
set_fuses() {
  local position place=$scratch/fuse id
  local -a points=()
  ((${#fuses[@]})) || return 0
  # With the right to mount, some file systems would mount over the device that the open end leads to.
  ((EUID)) || refuse 'it mounts a volume by FUSE inside, which root may not; the site can mount it on the worker'
  mkdir -p -- "$place"
  for ((position = 0; position < ${#fuses[@]}; position += 4)); do
    id=${fuses[position]}-$position
    write_mount_script "$place" "$id" "${fuses[position + 2]}" "${fuses[position + 3]}"
    points+=("$id" "${fuses[position + 1]}")
    # The option is a line of CSV, of which the double quotes make one field.
    options+=(--fusemount "\"container:/.flashlink/$id.sh ${fuses[position + 1]//\"/\"\"}\"")
  done
  add_mount "$place" /.flashlink rw
  write_wait_script "$place/wait.sh"
  printf '%s\n' "${points[0]}" >"$place/waiting"
  if ((${#argv[@]} == 0)); then
    argv=(/.singularity.d/runscript ${args[@]+"${args[@]}"}) # what `apptainer run` would start
  fi
  argv=(/bin/sh /.flashlink/wait.sh "$fuse_seconds" "${points[@]}" -- "${argv[@]}")
}

# FOLDER NAME SUB_PATH SCRIPT. The image's environment is that of its scripts, which Apptainer does not run for mounts.
write_mount_script() {
  local script=$1/$2
  mkdir -p -- "$script.cache"
  printf '%s\n' "$4" >"$script.script"
  : >"$script.said"
  {
    printf '#!/bin/sh\nexec </dev/null >>/.flashlink/%s.said 2>&1\n' "$2"
    # shellcheck disable=SC2016 # for the image's shell
    printf 'for file in /.singularity.d/env/*.sh; do [ ! -f "$file" ] || . "$file"; done\n'
    printf 'export MOUNT_POINT="$1" CACHEDIR=/.flashlink/%s.cache SUB_PATH=%s\n' "$2" "'${3//\'/\'\\\'\'}'"
    [[ $4 == '#!'* ]] || printf 'exec /bin/sh /.flashlink/%s.script "$1"\n' "$2"
    printf 'exec /.flashlink/%s.script "$1"\n' "$2"
  } >"$script.sh"
  chmod 0700 -- "$script.sh" "$script.script"
}

# FILE: the script that waits for mounts, then becomes the container's command. A mount blocks whoever looks at it until it
# answers, or fails when its script has ended.
write_wait_script() {
  cat >"$1" <<'END'
limit=$1
shift
(
  while [ "$limit" -gt 0 ]; do
    sleep 1
    limit=$((limit - 1))
  done
  : >/.flashlink/late
  kill -KILL $$
) >/dev/null 2>&1 &
while [ "$1" != -- ]; do
  printf '%s\n' "$1" >/.flashlink/waiting
  [ -d "$2/." ] || exit 128
  shift 2
done
shift
rm /.flashlink/waiting
kill "$!"
wait "$!" 2>/dev/null
exec "$@"
END
}

# After an instance of $name has ended: what its scripts said goes to the job's log; if it still waited for a mount, it has
# not started, and $code and the reason say so.
judge_fuses() {
  local place=$pod_folder/tmp/$name/fuse said volume waiting='' why='its script ended'
  [[ -d $place ]] || return 0
  [[ ! -f $place/waiting || -L $place/waiting ]] || read -r waiting <"$place/waiting"
  [[ ! -e $place/late ]] || why="nothing was mounted in $fuse_seconds s"
  for said in "$place"/*.said; do
    volume=${said##*/}
    volume=${volume%-*}
    relay "$volume" "$said"
    if [[ ${said##*/} == "$waiting.said" && ! $stop && ! -L $said ]]; then
      give_reason "$pod_folder/logs/$name.$instance.log" "$(mount_failure "$volume" "$why" "$said")"
      : >"$pod_folder/tmp/$name.failed"
      code=128
    fi
  done
}
