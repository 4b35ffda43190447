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
    find_image_workdir
    workdir=$image_workdir
  fi
  options+=(--pwd "${workdir:-/}")
}

# Kubernetes makes a working directory that is not there.
provide_workdir() {
  local position place='' image_workdir
  for ((position = 0; position < ${#binds[@]}; position += 5)); do # parents first, so the deepest mount wins
    if [[ $workdir/ == "${binds[position + 1]%/}"/* ]]; then
      place=${binds[position]}${workdir#"${binds[position + 1]%/}"}
      check_inside "$place" "${binds[position + 4]}"
    fi
  done
  if [[ $place ]]; then
    [[ -d $place ]] || mkdir -p -- "$place" 2>/dev/null
    return
  fi
  # Apptainer itself makes sure of these.
  [[ $root == disk && $workdir != / && $workdir != /tmp && $workdir != /var/tmp ]] || return 0
  find_image_workdir
  [[ $workdir != "$image_workdir" ]] || return 0
  # Only from inside can one see whether it is there, as an image is no folder; what is made stays in the layer.
  # shellcheck disable=SC2016 # for the image's shell
  "$pod_executable" --silent exec "${options[@]}" --pwd / -- "$image" /bin/sh -c '[ -d "$0" ] || mkdir -p -- "$0"' "$workdir" \
    </dev/null >&2
}
