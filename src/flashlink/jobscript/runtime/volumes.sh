# shellcheck shell=bash
# The volumes that live in the pod's own folder, or behind a link there in memory.

disk_scratch=()   # names of the emptyDirs on disk
memory_scratch=() # and of those in memory

# NAME: an emptyDir.
volume_scratch() {
  disk_scratch+=("$1")
  mkdir -m 0777 -- "$pod_folder/volumes/$1"
}

# NAME: an emptyDir in memory, where that is a file system.
volume_memory() {
  if [[ $(stat -f -c %T /dev/shm 2>/dev/null) != tmpfs ]]; then
    abandon "emptyDir $1 has medium Memory, and this machine has no tmpfs at /dev/shm; leave the medium out"
  fi
  memory_scratch+=("$1")
  [[ -d $pod_memory && ! -L $pod_memory && -O $pod_memory ]] || mkdir -m 0700 -- "$pod_memory" || return
  mkdir -m 0777 -- "$pod_memory/$1" && ln -s -- "$pod_memory/$1" "$pod_folder/volumes/$1"
}

# NAME: the folder of a config map, secret or projected volume.
volume_files() { mkdir -m 0755 -- "$pod_folder/volumes/$1"; }

# NAME PATH MODE CONTENT: one of its files; CONTENT is escaped as for the %b of printf. No process is started, as there can be
# hundreds of files: the mode comes from the umask, which can give all but the right to execute.
volume_file() {
  local file=$pod_folder/volumes/$1/$2 mask code
  if [[ $2 == */* ]]; then
    (umask 022 && mkdir -p -- "${file%/*}") || return
  fi
  printf -v mask '%04o' $((0777 & ~$3))
  umask "$mask"
  printf '%b' "$4" >"$file"
  code=$?
  umask 077
  ((code || !($3 & 0111))) || chmod "$3" -- "$file" || code=1
  return "$code"
}
