# shellcheck shell=bash
# The volumes of a host process at their mount paths, in a private mount namespace. Nothing is created on the machine: a
# mount path that does not exist appears in an underlay, a tmpfs that holds binds of everything that was there.

underlays=() # device numbers of the tmpfs that are ours

# INDEX LOG PROBE: inside the namespace: mount, then become the process, or what the probe or hook PROBE runs.
enter_namespace() {
  local position
  container_log=$2
  declare_container "$1"
  if [[ $3 ]]; then
    trial=1
    load_command "$3"
  fi
  umask 022
  for ((position = 0; position < ${#binds[@]}; position += 5)); do
    if [[ ! -e $(top_of "${binds[position + 1]}") ]]; then
      new_root
      break
    fi
  done
  for ((position = 0; position < ${#binds[@]}; position += 5)); do
    show "${binds[position]}" "${binds[position + 1]}" "${binds[position + 2]}"
  done
  become_process
}

# PATH: its first component.
top_of() {
  local rest=${1#/}
  printf '/%s' "${rest%%/*}"
}

# A root of our own with all that is in the machine's, where new folders can be made.
new_root() {
  local stage=$pod_folder/tmp/$name.root
  shadow / "$stage"
  mkdir -- "$stage/.old"
  if ! { pivot_root "$stage" "$stage/.old" && cd / && umount -l /.old && rmdir /.old; }; then
    refuse 'cannot change to a root folder of its own'
  fi
}

# FOLDER STAGE: mount a tmpfs at STAGE and bind every entry of FOLDER into it.
shadow() {
  local entry
  local -a links=() folders=() files=() copies=()
  mkdir -p -- "$2"
  mount -t tmpfs -o mode=0755 tmpfs "$2" || refuse "cannot make an underlay of $1"
  chmod --reference="$1" -- "$2" 2>/dev/null
  underlays+=("$(stat -c %d -- "$2")")
  for entry in "${1%/}"/* "${1%/}"/.[!.]* "${1%/}"/..?*; do
    if [[ -L $entry ]]; then
      links+=("$entry")
    elif [[ -d $entry ]]; then
      folders+=("$entry")
      copies+=("$2/${entry##*/}")
    elif [[ -e $entry ]]; then
      files+=("$entry")
    fi
  done
  ((${#links[@]} == 0)) || cp -P -t "$2" -- "${links[@]}" || refuse "cannot copy the links of $1"
  ((${#folders[@]} == 0)) || mkdir -- "${copies[@]}" || refuse "cannot copy the folders of $1"
  for entry in ${files[@]+"${files[@]}"}; do
    : >"$2/${entry##*/}"
  done
  for entry in ${folders[@]+"${folders[@]}"} ${files[@]+"${files[@]}"}; do
    mount --rbind -- "$entry" "$2/${entry##*/}" || refuse "cannot show $entry in an underlay"
  done
}

# SOURCE TARGET MODE: let TARGET show SOURCE.
show() {
  [[ $1 != "$2" || $3 == ro ]] || return 0
  if [[ ! -e $2 ]]; then
    make_target "$1" "$2"
  fi
  mount --rbind -- "$1" "$2" || refuse "cannot mount $1 at $2"
  if [[ $3 == ro ]]; then
    mount -o remount,bind,ro -- "$2" || refuse "cannot mount $2 read-only"
  fi
}

# SOURCE TARGET: make TARGET a mount point, in an underlay of the deepest folder that exists.
make_target() {
  local parent=$2 real stage
  while [[ ! -d $parent ]]; do
    parent=${parent%/*}
    parent=${parent:-/}
  done
  real=$(realpath -e -- "$parent")
  # In a folder that is ours, an underlay or a volume of the pod, the mount point can simply be made.
  if ! is_ours "$real"; then
    if is_writable "$real"; then
      refuse "cannot mount at $2: what the container writes beside it, in $real, would be lost; mount at a path that exists \
or in a folder that only the system writes, such as /mnt/${2##*/}"
    fi
    stage=$pod_folder/tmp/$name.underlay.$RANDOM$RANDOM
    shadow "$real" "$stage"
    mount --rbind -- "$stage" "$real" || refuse "cannot put an underlay on $real"
  fi
  if [[ -d $1 ]]; then
    mkdir -p -- "$2"
  else
    mkdir -p -- "${2%/*}/" && : >"$2"
  fi || refuse "cannot make the mount point $2"
}

# FOLDER: true if the process may write in it. Root may everywhere; it is asked whether anybody may.
is_writable() {
  local inside outside
  read -r inside outside _ </proc/self/uid_map
  if ((EUID == 0 && inside == outside)); then
    ((8#$(stat -c %a -- "$1") & 2))
  else
    [[ -w $1 ]]
  fi
}

# FOLDER: true if a mount point may be made in it: it is on an underlay, or in a volume that the pod may write. In a
# host path an empty folder stays behind, as in Kubernetes.
is_ours() {
  local device own position
  device=$(stat -c %d -- "$1")
  for own in ${underlays[@]+"${underlays[@]}"}; do
    [[ $device != "$own" ]] || return 0
  done
  for ((position = 0; position < ${#binds[@]}; position += 5)); do
    if [[ ${binds[position + 2]} == rw && "$1/" == "${binds[position + 1]%/}"/* ]]; then
      return 0
    fi
  done
  return 1
}
