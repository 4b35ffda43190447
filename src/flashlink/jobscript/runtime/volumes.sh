# shellcheck shell=bash
# The volumes that live in the pod's own folder.

# NAME: an emptyDir.
volume_scratch() { mkdir -m 0777 -- "$pod_folder/volumes/$1" && chmod 0777 -- "$pod_folder/volumes/$1"; }

# NAME: the folder of a config map, secret or projected volume.
volume_files() { mkdir -m 0755 -- "$pod_folder/volumes/$1" && chmod 0755 -- "$pod_folder/volumes/$1"; }

# NAME PATH MODE BASE64: one of its files.
volume_file() {
  local file=$pod_folder/volumes/$1/$2
  if [[ $2 == */* ]]; then
    (umask 022 && mkdir -p -- "${file%/*}") || return
  fi
  printf '%s' "$4" | base64 -d >"$file" && chmod "$3" -- "$file"
}
