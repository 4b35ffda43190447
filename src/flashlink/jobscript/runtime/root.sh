# shellcheck shell=bash
# The root file system of a container: as whom it runs, what it may write, where it starts.

# USER GROUP NON_ROOT: as whom the process must run; "" where it does not matter.
with_identity() { identity=("$@"); }
# The process is root of a user namespace, which is the job's account outside.
with_fake_root() { fake_root=1; }
# PLACE: where what it writes outside of its volumes goes: disk, memory or read-only.
with_root() { root=$1; }

# A job has one account: the container runs as it, or not at all.
check_identity() {
  ((${#identity[@]})) || return 0
  local user=${identity[0]} group=${identity[1]} own=$EUID own_group=${GROUPS[0]}
  if [[ $fake_root ]]; then
    own=0 own_group=0
  fi
  if [[ $user && $user != "$own" ]]; then
    refuse "runAsUser is $user, and this job runs as user $own; leave runAsUser out"
  fi
  if [[ $group && $group != "$own_group" ]]; then
    refuse "runAsGroup is $group, and this job runs as group $own_group; leave runAsGroup out"
  fi
  if [[ ${identity[2]} && $own == 0 ]]; then
    refuse 'runAsNonRoot is true, and this job runs as root'
  fi
}

# The options that let the container write where Kubernetes would let it, in $options.
set_root() {
  case $root in
    memory) options+=(--writable-tmpfs) ;;
    disk)
      if can_layer; then
        mkdir -p -- "$scratch/root"
        options+=(--overlay "\"${scratch//\"/\"\"}/root\"") # the option is a line of CSV
      else
        root=read-only
        printf 'flashlink: container %s: it cannot write outside of its volumes: this machine has no fuse-overlayfs\n' "$name" >&2
      fi
      ;;
  esac
  [[ ! $fake_root ]] || options+=(--fakeroot)
}

# True if Apptainer can lay a folder over the image. It mounts SIF files by FUSE, and then needs fuse-overlayfs too; where it
# is setuid the kernel does both.
can_layer() {
  local prefix
  prefix=$(type -P -- "$pod_executable")
  prefix=${prefix%/bin/*}/libexec/${pod_runtime}/bin
  [[ -d $image || -x $prefix/fuse-overlayfs || -u $prefix/starter-suid ]] || type -P fuse-overlayfs >/dev/null
}

# Where the process starts, in $workdir: as the pod says, else as the image does.
set_workdir() {
  if [[ $workdir ]]; then
    provide_workdir
  else
    workdir=$(image_workdir)
  fi
  options+=(--pwd "${workdir:-/}")
}

# Kubernetes makes a working directory that is not there.
provide_workdir() {
  local position place=''
  for ((position = 0; position < ${#binds[@]}; position += 5)); do # parents first, so the deepest mount wins
    if [[ $workdir/ == "${binds[position + 1]%/}"/* ]]; then
      place=${binds[position]}${workdir#"${binds[position + 1]%/}"}
      check_inside "$place" "${binds[position + 4]}"
    fi
  done
  if [[ $place ]]; then
    [[ -d $place ]] || mkdir -p -- "$place" 2>/dev/null
  elif [[ $root == disk && $workdir != / && $workdir != "$(image_workdir)" ]]; then
    # Only from inside can one see whether it is there, as an image is no folder; what is made stays in the layer.
    # shellcheck disable=SC2016 # for the image's shell
    "$pod_executable" --silent exec "${options[@]}" --pwd / -- "$image" /bin/sh -c '[ -d "$0" ] || mkdir -p -- "$0"' "$workdir"
  fi </dev/null >&2
}

# The WORKDIR of the Docker image that the SIF file $image was made of. Apptainer keeps the image's configuration as one of
# the file's objects, and does not apply it. Their descriptors, of 585 bytes, begin at byte 4096, each with: at byte 17 where
# the object is, at byte 25 its size, at byte 73 its name (https://github.com/apptainer/sif, "type rawDescriptor").
image_workdir() {
  [[ -f $image ]] || return 0
  local name_bytes=' 111 99 105 45 99 111 110 102 105 103 46 106 115 111 110 0 ' # oci-config.json
  local line config
  local -a bytes
  while read -r line; do
    read -r -a bytes <<<"$line"
    [[ " ${bytes[*]:73:16} " == "$name_bytes" ]] || continue
    config=$(tail -c "+$(($(number_at 17) + 1))" -- "$image" | head -c "$(number_at 25)" | tr -d '\0')
    if [[ $config =~ \"WorkingDir\":[[:space:]]*\"(([^\"\\]|\\.)*)\" ]]; then
      printf '%b' "${BASH_REMATCH[1]//\\\//\/}" # JSON's escapes that a path can have are printf's too
    fi
    return
  done < <(od -An -v -w585 -t u1 -j 4096 -N 28080 -- "$image" 2>/dev/null)
}

# BYTE: the little-endian number of eight bytes there in $bytes.
number_at() {
  local number=0 byte
  for ((byte = $1 + 7; byte >= $1; byte--)); do
    number=$((number << 8 | bytes[byte]))
  done
  printf '%s' "$number"
}
